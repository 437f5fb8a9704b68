"""How a release was verified is told before an upgrade to it, and what a rehearsal checked after it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from steelyard.dify.release import NEWEST_KNOWN, VERIFIED, release_of, verification
from steelyard.workflows import dify_host
from steelyard_host.wire.dify import Pulled, Rehearsal

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("release", "told"),
    [
        ("1.9.1", "releases before 1.12 are not installed"),
        ("1.12.0", "its files were read, nothing of it was run"),
        ("1.16.1", "were run from source, no image was"),
        ("1.17.1-fix.1", "its release notes were read, nothing of it was run"),
        ("1.19.0", "its release notes were read, nothing of it was run"),
        ("1.19.1", "newer than 1.19.0, the newest that is known here: nothing of it was verified"),
        ("2.0.0", "nothing of it was verified"),
        ("main", "nothing of it was verified"),
    ],
)
def test_each_release_is_told_with_its_proof_and_an_unknown_one_is_not_refused(release: str, told: str) -> None:
    assert told in verification(release_of(release))


def test_the_proofs_are_in_order_and_the_table_of_the_role_names_every_minor_release() -> None:
    newest = [release for release, _ in VERIFIED]
    assert newest == sorted(newest)
    assert newest[-1] == NEWEST_KNOWN
    page = (ROOT / "docs/roles/dify.md").read_text()
    named: set[int] = set()
    for first, last in re.findall(r"^\| 1\.(\d+)(?: to 1\.(\d+))?", page, flags=re.M):
        named |= set(range(int(first), int(last or first) + 1))
    assert set(range(8, NEWEST_KNOWN.minor + 1)) <= named


def test_a_rehearsal_tells_what_it_checked_and_what_it_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Rehearsal("/b.tar.gz", "1.16.1", "1.17.1", 3.5, ("still there: 2 models",), ("that somebody can log in",))
    answers: dict[type[Any], Any] = {Pulled: Pulled("1.17.1", 1.5), Rehearsal: done}
    monkeypatch.setattr(dify_host.DifyHost, "work", lambda self, kind, *argv: answers[kind])
    said: list[str] = []
    host = dify_host.DifyHost(SimpleNamespace(name="d"), lambda event: said.append(event.text))  # type: ignore[arg-type, union-attr]
    assert host.rehearse(dify_host.Releases("1.16.1", "1.17.1"), "nothing of it was run") == done
    assert said == [
        "Dify 1.17.1: nothing of it was run",
        "d: Dify 1.17.1 is staged beside 1.16.1",
        "d: its images are here after 1.5 s",
        "d: rehearsed on /b.tar.gz in 3.5 s",
        "d: on the copy, still there: 2 models",
        "d: not checked: that somebody can log in",
    ]
    assert Rehearsal.of_json(done.as_json()) == done
