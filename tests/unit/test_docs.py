"""What people read holds: the READMEs have one shape and are short, links lead somewhere, every page is reached, blocks
have their marks.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from pages import BLOCKS, READMES, ROOT, read_block

TOP = (*READMES, "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
LINES, COLUMNS = 130, 120  # of a README: what is read before it is put away
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.S | re.M)


def links(path: Path) -> list[str]:
    """Where a page's links and pictures lead, in their order, without what is elsewhere."""
    targets = [first or second for first, second in LINK.findall(prose(path))]
    return [target for target in targets if "://" not in target]


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def width(line: str) -> int:
    """Columns of a line in a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)


def test_both_readmes_have_the_same_headings_and_links() -> None:
    english, chinese = PAGES[:2]
    levels = [re.findall(r"^(#+) ", prose(path), flags=re.M) for path in (english, chinese)]
    assert levels[0] == levels[1]
    of_one = ("README", "docs/pictures/")  # each has its own: the other language, a picture in its words
    same = [[target for target in links(path) if not target.startswith(of_one)] for path in (english, chinese)]
    assert same[0] == same[1]
    assert READMES[1] in links(english)
    assert READMES[0] in links(chinese)


def test_both_readmes_show_the_same_commands() -> None:
    shown = []
    for path in PAGES[:2]:
        blocks = re.findall(r"^```sh\n(.*?)^```$", path.read_text(), flags=re.S | re.M)
        shown.append([re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()])
    assert shown[0] == shown[1]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    astray = []
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            astray.append(link)
    assert astray == []


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs/index.md"
    listed = {(index.parent / link.split("#")[0]).resolve() for link in links(index)}
    pages = set((ROOT / "docs").rglob("*.md")) | set((ROOT / "docs/ci").iterdir())
    assert sorted(str(page.relative_to(ROOT)) for page in pages - listed - {index}) == []


@pytest.mark.parametrize("name", READMES)
def test_a_readme_is_short_enough_to_be_read(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if width(line) > COLUMNS] == []


@pytest.mark.parametrize("name", READMES)
def test_a_readme_begins_with_the_picture_the_run_and_what_it_is_not(name: str) -> None:
    text = (ROOT / name).read_text()
    order = [
        "<picture>",
        "<!-- headline -->",
        "**What it is not.**" if name == READMES[0] else "**它不是什么。**",
        "\n## ",
    ]
    assert sorted(order, key=text.index) == order


def test_every_block_has_its_marks_once_and_no_page_has_another() -> None:
    declared = Counter((page, name) for name, pages in BLOCKS.items() for page in pages)
    marked = Counter(
        (str(path.relative_to(ROOT)), name)
        for path in PAGES
        for name in re.findall(r"^<!-- ([\w-]+) -->$", path.read_text(), flags=re.M)
        if name != "end"
    )
    assert marked == declared
    assert all(read_block(name) for name in BLOCKS)


def test_readmes_hold_one_real_rollout_under_load_without_a_failed_request() -> None:
    run = read_block("headline")
    assert run in (ROOT / READMES[1]).read_text()
    assert "$ steelyard rollout tiny v2" in run
    assert re.search(r"^gpu-1 .*\bconfirmed\b.*\b\d+\.\d\d s", run, flags=re.M)
    assert re.search(r"^# the clients: \d+ requests, 0 failed", run, flags=re.M)


def test_the_demo_page_holds_the_transcript_of_a_real_run() -> None:
    transcript = read_block("transcript")
    for line in ("$ steelyard lab up", "(exit 2)", "no drift", "0 tasks changed", "simulated GPU", ", 0 failed"):
        assert line in transcript
    assert read_block("headline").removeprefix("```text\n").removesuffix("```\n") in transcript


def test_every_role_has_a_page() -> None:
    roles = {path.parent.name for path in (ROOT / "roles").glob("*/settings.py")}
    assert {path.stem for path in (ROOT / "docs/roles").glob("*.md")} == roles
