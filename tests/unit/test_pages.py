"""What scripts write into pages: blocks between marks, the demo's transcript and its headline run, the README's
picture.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import chart
import demo
import pages
import pytest

PAGE = "# A page\n\n<!-- engine -->\nold\nfigures\n<!-- end -->\n\n<!-- boot -->\nothers\n<!-- end -->\n"
TRANSCRIPT = """\
$ steelyard apply -i inventories/lab --yes
0 tasks changed on 0 hosts of 3

# version v2 is declared; clients ask
$ steelyard rollout tiny v2 -i inventories/lab --yes
HOST   SERVES  SWITCH     BY      DRAINED IN  GAP     WHOLE
gpu-1  v2      confirmed  reload  -           0.07 s  0.17 s

# the clients: 150 requests, 0 failed; the slowest waited 0.3 s

$ steelyard rollback tiny -i inventories/lab --yes --strategy swap
# the clients: 151 requests, 0 failed; the slowest waited 26.8 s
""".splitlines()
SVG = "{http://www.w3.org/2000/svg}"


def test_a_block_is_replaced_and_nothing_else() -> None:
    written = pages.replace_block(PAGE, "engine", "new \\1\n")
    assert written == PAGE.replace("old\nfigures\n", "new \\1\n")


@pytest.mark.parametrize("page", ["no marks", PAGE + PAGE, PAGE.replace("<!-- engine -->", "<!-- engines -->")])
def test_a_page_without_its_marks_once_is_an_error_and_not_left_as_it_is(page: str) -> None:
    with pytest.raises(ValueError, match="once"):
        pages.replace_block(page, "engine", "new")


def test_what_was_measured_is_shown_where_it_could_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        pages.write_block("engine", "| measured |", tmp_path)
    assert str(ended.value).startswith("| measured |\nnot written into docs/how-it-works/costs.md: ")


def test_tables_are_read_by_their_heads() -> None:
    text = (
        "words\n\n| 20 hosts | wall s |\n|---|---|\n| ours | 2.96 |\n| theirs | - |\n\n| 1 hosts | wall s "
        "|\n|---|---|\n"
    )
    assert pages.read_tables(text) == {
        "20 hosts": [{"20 hosts": "ours", "wall s": "2.96"}, {"20 hosts": "theirs", "wall s": "-"}],
        "1 hosts": [],
    }


def test_the_headline_is_the_rollout_with_its_own_clients() -> None:
    assert demo.headline(TRANSCRIPT) == "\n".join(["```text", *TRANSCRIPT[3:9], "```", ""])


@pytest.mark.parametrize("missing", ["$ steelyard rollout", "# the clients"])
def test_a_transcript_without_a_whole_rollout_gives_no_headline(missing: str) -> None:
    with pytest.raises(ValueError, match="no rollout"):
        demo.headline([line for line in TRANSCRIPT if not line.startswith(missing)])


def test_the_demo_writes_its_transcript_and_the_headline_of_both_readmes(tmp_path: Path) -> None:
    for name in ("headline", "transcript"):
        for page in pages.BLOCKS[name]:
            path = tmp_path / page
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"before\n<!-- {name} -->\n<!-- end -->\nafter\n")
    demo.write_pages(TRANSCRIPT, tmp_path)
    assert pages.read_block("transcript", tmp_path) == "\n".join(["```text", *TRANSCRIPT, "```", ""])
    for page in pages.READMES:
        text = demo.headline(TRANSCRIPT)
        assert (tmp_path / page).read_text() == f"before\n<!-- headline -->\n{text}<!-- end -->\nafter\n"


def test_a_failed_step_of_the_demo_ends_with_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(demo.DemoFailed) as failed:
        demo.Demo().run("status", "-i", "no/such/inventory")
    sentence = str(failed.value)
    assert "\n" not in sentence
    assert sentence.startswith(
        "`steelyard status -i no/such/inventory` ended with exit 1, expected was 0; its own words are above, and "
    )
    assert sentence.endswith("`make demo-down` takes it away")
    assert "no/such/inventory" in capfd.readouterr().out.partition("\n")[2]  # the command's own words, above


def test_a_step_that_a_signal_killed_is_told_by_its_name() -> None:
    assert "was killed by SIGKILL, expected was 0" in demo.failure(("apply", "--yes"), -9, 0)


def test_the_picture_shows_the_figures_of_the_pages() -> None:
    looks, rollouts = chart.read_looks(), chart.read_rollouts()
    drawn = ElementTree.fromstring(chart.draw(chart.WORDS["en"], chart.THEMES["light"], looks, rollouts))
    texts = [each.text for each in drawn.iter(f"{SVG}text")]
    assert f"{looks[chart.OURS]:.1f} s" in texts
    assert [f"{row.failed:,} / {row.requests:,}" in texts for row in rollouts] == [True] * 4
    bars = [float(each.attrib["width"]) for each in drawn.iter(f"{SVG}rect")]
    assert bars[-1] / bars[2] == pytest.approx(looks[chart.PEERS[-1]] / looks[chart.PEERS[2]], rel=0.01)
    legend = 2
    assert len(list(drawn.iter(f"{SVG}circle"))) == sum(len(row.switched) for row in rollouts) + legend


def test_a_failed_request_would_be_seen_in_the_picture() -> None:
    row = chart.Rollouts("swap", requests=1234, failed=5, on_killed=0, switched=(True, False))
    theme = chart.THEMES["dark"]
    drawn = chart.draw(chart.WORDS["zh-CN"], theme, dict.fromkeys(chart.PEERS, 1.0), [row])
    assert f'fill="{theme.failed}" font-size="13" font-weight="600" text-anchor="end">5 / 1,234<' in drawn


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    for drawn in chart.pictures().values():
        assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
        assert "<script" not in drawn


@pytest.mark.parametrize("background", chart.THEMES)
def test_every_colour_of_the_picture_is_told_from_its_background(background: str) -> None:
    behind = luminance({"light": "#ffffff", "dark": "#0d1117"}[background])
    for name, colour in vars(chart.THEMES[background]).items():
        brighter, darker = sorted((luminance(colour), behind), reverse=True)
        needed = 1.8 if name == "peer" else 4.5  # a bar is wide, and its figure stands beside it
        assert (brighter + 0.05) / (darker + 0.05) >= needed, name


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, as WCAG 2 has it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
