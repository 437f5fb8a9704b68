"""SARIF 2.1.0 (OASIS): GitHub's and others' code scanning. Suppressed results are our exceptions.

A finding's place is its host as a logical location, and the inventory as the file: that is what a reader can open.
"""

from __future__ import annotations

import json
from typing import Any

from steelyard import __version__
from steelyard.api.finding import Finding

from . import Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def write(report: Report) -> str:
    pairs = [(finding, None) for finding in report.drifted.findings]
    every: list[tuple[Finding, Any]] = [*pairs, *report.drifted.excepted]
    codes = sorted({finding.code for finding, _ in every})
    results = [_result(finding, cover, codes, report.inventory) for finding, cover in every]
    driver = {
        "name": "steelyard",
        "version": __version__,
        "rules": [
            {"id": code, "shortDescription": {"text": code.replace(".", ": ").replace("-", " ")}} for code in codes
        ],
    }
    notes = [
        {
            "level": "error",
            "message": {"text": _no_link(f"{error}; fix: {error.remedy}")},
            "descriptor": {"id": type(error).__name__},
        }
        for error in report.errors
    ]
    invocation: dict[str, Any] = {"executionSuccessful": not notes, "endTimeUtc": report.made}
    if notes:
        invocation["toolExecutionNotifications"] = notes
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results}
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _no_link(text: str) -> str:
    """The text without `[text](address)`, which viewers show as a link."""
    return text.replace("](", "] (")


def _result(finding: Finding, cover: Any, codes: list[str], inventory: str) -> dict[str, Any]:
    text = _no_link(
        f"{finding.host}: {finding.subject}: declared: {finding.declared}; live: {finding.live}. Fix: {finding.fix}"
    )
    place = {
        "physicalLocation": {"artifactLocation": {"uri": inventory}, "region": {"startLine": 1}},
        "logicalLocations": [{"name": finding.host, "kind": "resource", "fullyQualifiedName": finding.id}],
    }
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": str(finding.severity),
        "message": {"text": text},
        "locations": [place],
        "partialFingerprints": {"steelyardFinding/v1": finding.fingerprint},
        "properties": {"verdict": str(finding.verdict), "since": finding.since},
    }
    if cover is not None:
        entry = cover.entry
        why = f"{entry.reason} ({entry.owner}, until {entry.expires})"
        result["suppressions"] = [{"kind": "external", "justification": why}]
    return result
