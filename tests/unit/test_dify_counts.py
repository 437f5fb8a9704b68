"""What `make test-dify` prints of the counts that its tests made, and when it ends with 1."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent.parent.parent / "tools" / "dify_counts.py"
WHOLE = {
    "pairs_replayed": (150, 446),
    "pairs_matched": (150, 446),
    "second_run_writes": (0, 0),
    "manual_changes_injected": (1, 1),
    "manual_changes_found": (1, 1),
    "human_data_lost": (0,),
}


def counted(folder: Path, counts: dict[str, tuple[int, ...]]) -> tuple[int, dict[str, int]]:
    """Exit code and what was printed, for a file of pytest's in which each number is a test's own."""
    made = [(name, value) for name, values in counts.items() for value in values]
    cases = [
        f'<testcase><properties><property name="{name}" value="{value}"/></properties></testcase>'
        for name, value in made
    ]
    path = folder / "dify.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    done = subprocess.run([sys.executable, PROGRAM, path], capture_output=True, text=True)
    printed: dict[str, int] = json.loads(done.stdout)
    return done.returncode, printed


def test_counts_of_every_test_are_summed(tmp_path: Path) -> None:
    assert counted(tmp_path, WHOLE) == (0, {name: sum(values) for name, values in WHOLE.items()})


@pytest.mark.parametrize(
    "wrong",
    [
        {"pairs_matched": (150, 445)},
        {"second_run_writes": (0, 1)},
        {"manual_changes_found": (1, 0)},
        {"human_data_lost": (1,)},
        {"human_data_lost": ()},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_bar_that_does_not_hold_or_was_not_measured_ends_with_1(
    tmp_path: Path, wrong: dict[str, tuple[int, ...]]
) -> None:
    assert counted(tmp_path, {**WHOLE, **wrong})[0] == 1
