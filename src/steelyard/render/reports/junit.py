"""JUnit XML as Jenkins' xunit plug-in defines it (junit-10.xsd), which GitLab, Jenkins and Azure read.

A suite is a host. A finding is a failure, a host that could not be looked at an error, an exception a skipped case; a
host as declared is one case that passed.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from steelyard.errors.visible import harmless

from . import Report

NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def write(report: Report) -> str:
    findings = report.drifted.findings
    errors = {error.where: error for error in report.errors}
    excepted = report.drifted.excepted
    names = sorted({*report.looked_at, *errors, *(finding.host for finding in findings)})
    root = ElementTree.Element("testsuites", name="steelyard drift")
    for name in names:
        mine = [finding for finding in findings if finding.host == name]
        covered = [(finding, cover) for finding, cover in excepted if finding.host == name]
        failed = 1 if name in errors else 0
        cases = len(mine) + len(covered) + failed or 1
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_clean(name),
            tests=str(cases),
            failures=str(len(mine)),
            errors=str(failed),
            skipped=str(len(covered)),
            timestamp=report.made.removesuffix("Z"),
        )
        for finding in mine:
            case = _case(suite, name, finding.code, finding.subject)
            message = f"declared: {finding.declared}; live: {finding.live}"
            failure = ElementTree.SubElement(case, "failure", message=_clean(message), type=str(finding.verdict))
            failure.text = _clean(f"{finding.subject}\n{message}\nfix: {finding.fix}\nid: {finding.id}")
        for finding, cover in covered:
            case = _case(suite, name, finding.code, finding.subject)
            entry = cover.entry
            ElementTree.SubElement(case, "skipped").text = _clean(
                f"{entry.reason} ({entry.owner}, until {entry.expires})"
            )
        if name in errors:
            case = _case(suite, name, "host", "looked at")
            error = ElementTree.SubElement(
                case, "error", message=_clean(str(errors[name])), type=type(errors[name]).__name__
            )
            error.text = _clean(f"{errors[name]}\nfix: {errors[name].remedy}")
        elif not mine and not covered:
            _case(suite, name, "host", "as declared")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, host: str, code: str, subject: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_clean(f"{host}.{code}"), name=_clean(subject), time="0")


def _clean(text: str) -> str:
    """The text without what would be obeyed; XML 1.0 cannot hold some characters at all, escaped neither."""
    return NOT_XML.sub("?", harmless(text))
