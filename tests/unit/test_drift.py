"""Findings, what is excepted, since when; and the reports, held against the schemas that others publish."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema

from steelyard.api.finding import Finding, Severity, Verdict
from steelyard.drift.exceptions import DeclaredException, read_exceptions
from steelyard.drift.first_seen import FirstSeen
from steelyard.drift.report import DriftReport, apply_exceptions
from steelyard.errors import ExceptionWrong, HostUnreachable, ReportUnknown
from steelyard.render.reports import FORMATS, Report, writer_of

TODAY = date(2026, 11, 22)
ODD = 'a|b <c> & "d" %0A\n::error::\x07 [x](y) `z`'
ONE = Finding(
    "gpu-1", "vllm.run-the-service", "steelyard-vllm@tiny.service", "active", "failed", "steelyard apply -l gpu-1"
)
TWO = Finding(
    "gpu-2",
    "base.set-the-limit",
    "/etc/x",
    ODD,
    ODD,
    "fix, it: now",
    Verdict.BROKEN,
    Severity.WARNING,
    "2026-11-20T10:00:00Z",
)


def exceptions(tmp_path: Path, text: str) -> tuple[DeclaredException, ...]:
    path = tmp_path / "drift-exceptions.yml"
    path.write_text(text)
    return read_exceptions(path)


ENTRY = "- {id: 'gpu-1:vllm:*', reason: new fan, owner: anna, expires: %s}\n"


def test_an_id_survives_renamed_and_reordered_tasks() -> None:
    assert (
        ONE._replace(code="vllm.another-name", declared="x", fix="y").id
        == ONE.id
        == "gpu-1:vllm:steelyard-vllm@tiny.service"
    )
    assert ONE._replace(subject="other").fingerprint != ONE.fingerprint


def test_an_exception_covers_until_its_last_day_and_is_a_finding_after_it(tmp_path: Path) -> None:
    valid = apply_exceptions([ONE, TWO], exceptions(tmp_path, ENTRY % "2026-11-22"), TODAY)
    assert (valid.findings, [finding for finding, _ in valid.excepted]) == ((TWO,), [ONE])
    over = apply_exceptions([ONE, TWO], exceptions(tmp_path, ENTRY % "2026-11-21"), TODAY)
    assert over.excepted == ()
    assert [finding.verdict for finding in over.findings] == [Verdict.EXPIRED, Verdict.DIFFERS, Verdict.BROKEN]
    assert "anna" in over.findings[0].declared


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- {id: a, reason: b, owner: c}\n", ":1: `expires` is missing"),
        (
            (
                "\n- {id: a, reason: b, owner: c, expires: 2026-01-01}\n- {id: a, reasons: b, owner: c, "
                "expires: 2026-01-01}\n"
            ),
            ":3: `reason",
        ),
        ("- {id: a, reason: b, owner: c, expires: soon}\n", ":1: `expires` is `soon`"),
        ("- {id: '', reason: b, owner: c, expires: 2026-01-01}\n", ":1: `id` is ``"),
        ("id: a\n", ":1: it is a list"),
        ("- word\n", ":1: not an entry"),
    ],
)
def test_a_wrong_entry_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ExceptionWrong) as caught:
        exceptions(tmp_path, text)
    assert told in str(caught.value)


def test_no_file_and_an_empty_file_except_nothing(tmp_path: Path) -> None:
    assert read_exceptions(tmp_path / "none.yml") == exceptions(tmp_path, "") == ()


def test_a_finding_keeps_the_day_it_was_first_seen_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    seen, both = FirstSeen(tmp_path), {"gpu-1", "gpu-2"}
    assert [found.since for found in seen.dated([ONE], "day 1", both)] == [None]
    assert [found.since for found in seen.dated([ONE], "day 2", both)] == ["day 1"]
    assert seen.dated([], "day 3", {"gpu-2"}) == []  # gpu-1 was not looked at: nobody knows
    assert [found.since for found in seen.dated([ONE], "day 4", both)] == ["day 1"]
    seen.dated([], "day 5", both)
    assert [found.since for found in seen.dated([ONE], "day 6", both)] == [None]
    seen.path.write_text("{torn")
    assert [found.since for found in seen.dated([ONE], "day 7", both)] == [None]


# Reports


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Schemas as others publish them, from source packages that carry them; fetched once, never committed."""
    from steelyard.dirs import cache_folder

    kept = cache_folder() / "published-schemas"
    kept.mkdir(parents=True, exist_ok=True)
    wanted = {
        "sarif_om-1.0.4": ("sarif-om==1.0.4", "sarif-2.1.0-rtm.4.json"),
        "pytest-8.3.3": ("pytest==8.3.3", "testing/example_scripts/junit-10.xsd"),
    }
    for folder, (package, member) in wanted.items():
        target = kept / Path(member).name
        if not target.exists():
            fetched = tmp_path_factory.mktemp("schemas")
            words = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--no-binary",
                ":all:",
                package,
                "-d",
                str(fetched),
            ]
            subprocess.run(words, check=True, capture_output=True)
            [archive] = fetched.glob("*.tar.gz")
            subprocess.run(["tar", "xzf", archive, "-C", fetched], check=True)
            (fetched / folder / member).rename(target)
    return {path.name: path for path in kept.iterdir()}


@pytest.fixture(params=["drift", "none"])
def report(request: pytest.FixtureRequest, tmp_path: Path) -> Report:
    unreachable = HostUnreachable(where="gpu-3", why="no <route>", address="10.0.0.3")
    if request.param == "none":
        return Report("inventories/site/hosts.yml", "2026-11-22T10:00:00Z", DriftReport((), ()), ("gpu-1",), ())
    drifted = apply_exceptions([ONE, TWO], exceptions(tmp_path, ENTRY % "2026-12-01"), TODAY)
    return Report("inventories/site/hosts.yml", "2026-11-22T10:00:00Z", drifted, ("gpu-1", "gpu-2"), (unreachable,))


def test_sarif_is_what_oasis_published(report: Report, published: dict[str, Any]) -> None:
    document = json.loads(writer_of("sarif")(report))
    jsonschema.validate(document, json.loads(published["sarif-2.1.0-rtm.4.json"].read_text()))
    [run] = document["runs"]
    if report.errors:
        assert [(result["level"], "suppressions" in result) for result in run["results"]] == [
            ("warning", False),
            ("error", True),
        ]
        assert run["invocations"][0]["executionSuccessful"] is False
        assert run["results"][0]["partialFingerprints"]["steelyardFinding/v1"] == TWO.fingerprint
    else:
        assert run["results"] == []


def test_junit_is_what_jenkins_published(report: Report, published: dict[str, Any]) -> None:
    text = writer_of("junit")(report)
    xmlschema.validate(text, str(published["junit-10.xsd"]))
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(text)}
    for suite in suites.values():
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(kind, "0")) == len(suite.findall(f"testcase/{tag}"))
        assert int(suite.get("tests", "0")) == len(suite.findall("testcase")) > 0
    if report.errors:
        counts = {
            name: [suite.get(kind) for kind in ("failures", "errors", "skipped")] for name, suite in suites.items()
        }
        assert counts == {"gpu-1": ["0", "0", "1"], "gpu-2": ["1", "0", "0"], "gpu-3": ["0", "1", "0"]}


# docs.gitlab.com/ci/testing/code_quality: the properties of a custom tool's report
CODE_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string"},
            "check_name": {"type": "string"},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": "^[^/.]"},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}


def test_gitlab_gets_a_code_quality_report(report: Report) -> None:
    entries = json.loads(writer_of("gitlab")(report))
    jsonschema.validate(entries, CODE_QUALITY)
    assert len({entry["fingerprint"] for entry in entries}) == len(entries) == (2 if report.errors else 0)


def test_github_gets_one_line_a_finding_and_live_text_cannot_add_one(report: Report) -> None:
    lines = writer_of("github")(report).splitlines()
    assert len(lines) == (2 if report.errors else 0)
    for line in lines:
        assert line.startswith(("::error title=", "::warning title="))
        assert line.count("::") == 2 + line.partition("::error::")[2].count("::") or "%0A" in line


def test_github_shows_ten_and_counts_the_rest() -> None:
    many = tuple(Finding("h", "a.b", f"/x{number}", "d", "l", "f") for number in range(30))
    lines = writer_of("github")(Report("i", "t", DriftReport(many, ()), ("h",), ())).splitlines()
    assert len(lines) == 10
    assert "21 more findings" in lines[-1]


def test_markdown_has_a_row_a_finding_and_live_text_cannot_leave_its_cell(report: Report) -> None:
    text = writer_of("markdown")(report)
    rows = [line for line in text.splitlines() if line.startswith("| gpu-")]
    assert len(rows) == (2 if report.errors else 0)
    assert all(row.replace("\\|", "").count("|") in (6, 7) for row in rows)
    assert "<c>" not in text


def test_an_unknown_format_is_refused_with_the_nearest() -> None:
    with pytest.raises(ReportUnknown) as caught:
        writer_of("sarf")
    assert "`--report sarif`" in caught.value.remedy
    assert all(callable(writer_of(name)) for name in FORMATS)
