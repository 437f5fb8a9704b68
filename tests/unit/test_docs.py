"""What people read holds: the two READMEs have one shape, links lead somewhere, every command is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def headings(path: Path) -> list[int]:
    outside = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    return [len(found) for found in re.findall(r"^(#+) ", outside, flags=re.M)]


def test_both_readmes_have_the_same_headings_and_links() -> None:
    english, chinese = PAGES[:2]
    assert headings(english) == headings(chinese)
    links = [re.findall(r"\]\((docs/[^)]+)\)", path.read_text()) for path in (english, chinese)]
    assert sorted(links[0]) == sorted(links[1])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", path.read_text()) if "://" not in link]
    assert [link for link in links if link and not (path.parent / link).exists()] == []


def test_readmes_hold_a_transcript_of_a_real_run() -> None:
    for path in PAGES[:2]:
        transcript = re.search(r"<!-- transcript -->\n(.*?)<!-- end -->", path.read_text(), flags=re.S)
        assert transcript is not None
        for line in ("$ steelyard lab up", "(exit 2)", "no drift", "0 tasks changed", "simulated GPU"):
            assert line in transcript[1]


def test_readme_is_short_enough_to_be_read() -> None:
    text = re.sub(r"<!-- [a-z]+ -->.*?<!-- end -->", "", (ROOT / "README.md").read_text(), flags=re.S)
    assert len(text.splitlines()) <= 150


def test_every_role_has_a_page() -> None:
    roles = {path.parent.name for path in (ROOT / "roles").glob("*/settings.py")}
    assert {path.stem for path in (ROOT / "docs/roles").glob("*.md")} == roles
