"""GitLab's Code Quality report: a list of objects that merge requests and pipelines show."""

from __future__ import annotations

import hashlib
import json

from . import Report

SEVERITIES = {"error": "major", "warning": "minor"}


def write(report: Report) -> str:
    entries = [
        {
            "description": f"{finding.host}: {finding.subject}: declared: {finding.declared}; live: {finding.live}. "
            f"Fix: {finding.fix}",
            "check_name": finding.code,
            "fingerprint": finding.fingerprint,
            "severity": SEVERITIES[finding.severity],
            "location": {"path": report.inventory, "lines": {"begin": 1}},
        }
        for finding in report.drifted.findings
    ]
    entries += [
        {
            "description": f"{error}. Fix: {error.remedy}",
            "check_name": f"host.{type(error).__name__}",
            "fingerprint": hashlib.sha256(f"{error.where}:{type(error).__name__}".encode()).hexdigest()[:16],
            "severity": "critical",
            "location": {"path": report.inventory, "lines": {"begin": 1}},
        }
        for error in report.errors
    ]
    return json.dumps(entries, indent=1) + "\n"
