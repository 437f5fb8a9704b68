"""SECURITY.md promises nothing that no test holds."""

from __future__ import annotations

from pathlib import Path

import hardening_counts
import pytest

PROMISED = hardening_counts.PAGE.read_text().partition("## What is promised")[2].partition("\n## ")[0]
ROWS = [line for line in PROMISED.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("row", ROWS)
def test_a_promise_says_to_whom_and_which_tests_hold_it(row: str) -> None:
    who, promise, held = (cell.strip() for cell in row.strip("|").split("|"))
    assert who
    assert promise
    [tests] = hardening_counts.promises(row)
    assert held == ", ".join(f"`{test}`" for test in tests)
    assert [test for test in tests if not (hardening_counts.ROOT / test).is_file()] == []


def test_a_run_in_which_one_of_them_fails_has_mended_one_less(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(
        '<testsuite><testcase classname="tests.unit.test_push"/><testcase classname="tests.unit.test_push">'
        '<failure/></testcase><testcase classname="tests.unit.test_lock"><skipped/></testcase></testsuite>'
    )
    assert hardening_counts.outcomes(junit) == {
        "tests/unit/test_push.py": {"passed", "failed"},
        "tests/unit/test_lock.py": {"skipped"},
    }
    assert hardening_counts.counted(junit) == {}
