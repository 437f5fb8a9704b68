"""Draws the README's picture from the figures that benches wrote into the pages; `--check` fails where a picture is
stale.

Truth: the tables of docs/how-it-works/costs.md (`make bench-engine`) and docs/how-it-works/faults.md (`make
test-faults`); no figure is typed here. One picture per language and background, because GitHub picks by its own theme,
which a picture does not see.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from faults_page import PAGE as FAULTS
from faults_page import STRATEGIES
from pages import ROOT, read_block, read_tables

PICTURES = "docs/pictures"
FLEET = "20 hosts"  # the table of the `engine` block that is drawn
PEERS = ("steelyard plan", "floor: one script, one exec", "pyinfra --dry", "ansible + mitogen", "ansible, pipelining")
OURS = PEERS[0]
FONT = (
    "-apple-system,BlinkMacSystemFont,'Segoe UI','Noto Sans','PingFang SC','Microsoft YaHei','Noto Sans CJK "
    "SC',Helvetica,Arial,sans-serif"
)

CALM = ("none", "gates pass under load")  # rows of the matrix in which nothing breaks: not drawn
WIDTH, LEFT, RIGHT, HEIGHT = 960, 8, 492, 230  # the panels begin at LEFT and RIGHT
TOP, ROW = 64, 28  # of the first row; from row to row
BAR_X, BAR_WIDTH, BAR_HEIGHT = 144, 226, 14
DOT_X, DOT_PITCH, DOT_RADIUS = RIGHT + 84, 10.2, 3.6
COUNT_X = WIDTH - 8  # where the counts of requests end


@dataclass(frozen=True)
class Theme:
    """The colours of one background."""

    text: str
    muted: str
    peer: str
    ours: str
    failed: str


THEMES = {
    "light": Theme(text="#1f2328", muted="#59636e", peer="#b6bfc9", ours="#0969da", failed="#cf222e"),
    "dark": Theme(text="#f0f6fc", muted="#9198a1", peer="#545d68", ours="#4493f8", failed="#f85149"),
}


@dataclass(frozen=True)
class Words:
    """The picture's texts in one language."""

    summary: str
    look: str
    look_note: str
    peers: tuple[str, ...]
    rollouts: str
    rollouts_note: str
    failed: str
    switched: str
    undone: str
    on_killed: str
    seconds: str


WORDS = {
    "en": Words(
        summary="Seconds to look at a fleet in sync, beside other tools; requests that failed in rollouts under faults",
        look="Is the fleet in sync? 20 hosts, 40 tasks each",
        look_note="seconds; all tools on the same hosts in the same run",
        peers=("steelyard", "one ssh script", "pyinfra --dry", "ansible + mitogen", "ansible"),
        rollouts="A new model version under load, and a fault",
        rollouts_note="each dot is one rollout that meets one fault",
        failed="failed requests",
        switched="the new version serves",
        undone="undone, the old one serves",
        on_killed="Not counted: {count} requests on an engine or a gateway that the fault itself killed.",
        seconds="{seconds} s",
    ),
    "zh-CN": Words(
        summary="查看一个已一致的机群所需的秒数，与其他工具对比；故障下切换版本时失败的请求数",
        look="机群是否一致？20 台主机，各 40 个任务",
        look_note="单位：秒；所有工具在同一次运行中查看同样的主机",
        peers=("steelyard", "一个 ssh 脚本", "pyinfra --dry", "ansible + mitogen", "ansible"),
        rollouts="负载之下切换模型版本，同时发生故障",
        rollouts_note="每个圆点是一次切换，遇到一种故障",
        failed="失败的请求",
        switched="新版本提供服务",
        undone="已撤回，旧版本提供服务",
        on_killed="未计入：{count} 个请求，它们正运行在被故障本身杀掉的引擎或网关上。",
        seconds="{seconds} 秒",
    ),
}


@dataclass(frozen=True)
class Rollouts:
    """What the fault matrix says of one strategy.

    `failed` requests are those that a rollout is to blame for; `on_killed` ran on what the fault itself killed.
    `switched` tells for
    each rollout whether the new version serves afterwards, else the old one does.
    """

    strategy: str
    requests: int
    failed: int
    on_killed: int
    switched: tuple[bool, ...]


def read_looks() -> dict[str, float]:
    """Return each drawn peer's wall seconds for the fleet, in the order drawn."""
    rows = {row[FLEET]: float(row["wall s"]) for row in read_tables(read_block("engine"))[FLEET]}
    return {peer: rows[peer] for peer in PEERS}


def read_rollouts() -> list[Rollouts]:
    """Return the fault matrix by strategy; rollouts that ended with the new version first."""
    rows = read_tables(FAULTS.read_text())["strategy"]
    strategies = []
    for strategy in STRATEGIES:
        own = [row for row in rows if row["strategy"] == strategy and row["fault"] not in CALM]
        serving = sorted((row["serves"] for row in own), key=["next", "v1"].index)
        strategies.append(
            Rollouts(
                strategy,
                sum(int(row["requests"]) for row in own),
                sum(int(row["failed"]) for row in own),
                sum(int(row["on killed"]) for row in own),
                tuple(version == "next" for version in serving),
            )
        )
    return strategies


def text(x: float, y: float, content: str, fill: str, size: int = 13, weight: int = 400, anchor: str = "start") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{fill}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}">'
        f"{escape(content)}</text>"
    )


def dot(x: float, y: float, theme: Theme, is_filled: bool) -> str:
    """Filled or a ring: told apart without colours too."""
    fill = theme.ours if is_filled else "none"
    return f'<circle cx="{x:g}" cy="{y:g}" r="{DOT_RADIUS}" fill="{fill}" stroke="{theme.ours}" stroke-width="1.4"/>'


def draw_looks(looks: dict[str, float], words: Words, theme: Theme) -> Iterator[str]:
    yield text(LEFT, 20, words.look, theme.text, 15, 600)
    yield text(LEFT, 40, words.look_note, theme.muted, 12)
    longest = max(looks.values())
    for number, (peer, seconds) in enumerate(looks.items()):
        is_ours, middle = peer == OURS, TOP + number * ROW + BAR_HEIGHT / 2
        width = max(2.0, BAR_WIDTH * seconds / longest)
        bar = f'x="{BAR_X}" y="{middle - BAR_HEIGHT / 2:g}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2"'
        label, weight = words.peers[number], 600 if is_ours else 400
        yield text(BAR_X - 10, middle + 4.5, label, theme.text if is_ours else theme.muted, 13, weight, "end")
        yield f'<rect {bar} fill="{theme.ours if is_ours else theme.peer}"/>'
        shown = words.seconds.format(seconds=f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")
        yield text(BAR_X + width + 8, middle + 4.5, shown, theme.text if is_ours else theme.muted, 13, weight)


def draw_rollouts(rollouts: list[Rollouts], words: Words, theme: Theme) -> Iterator[str]:
    yield text(RIGHT, 20, words.rollouts, theme.text, 15, 600)
    yield text(RIGHT, 40, words.rollouts_note, theme.muted, 12)
    yield text(COUNT_X, 40, words.failed, theme.text, 12, 600, "end")
    for number, row in enumerate(rollouts):
        middle = TOP + number * ROW + BAR_HEIGHT / 2
        yield text(DOT_X - 12, middle + 4.5, row.strategy, theme.text, 13, 400, "end")
        for place, is_switched in enumerate(row.switched):
            yield dot(DOT_X + place * DOT_PITCH, middle, theme, is_switched)
        shown = f"{row.failed:,} / {row.requests:,}"
        yield text(COUNT_X, middle + 4.5, shown, theme.failed if row.failed else theme.text, 13, 600, "end")
    legend = TOP + len(rollouts) * ROW + BAR_HEIGHT / 2
    for place, (label, is_filled) in enumerate(((words.switched, True), (words.undone, False))):
        x = DOT_X + place * 190
        yield dot(x, legend, theme, is_filled)
        yield text(x + 10, legend + 4.5, label, theme.muted, 12)
    on_killed = sum(row.on_killed for row in rollouts)
    if on_killed:
        yield text(COUNT_X, legend + ROW + 4.5, words.on_killed.format(count=on_killed), theme.muted, 11, 400, "end")


def draw(words: Words, theme: Theme, looks: dict[str, float], rollouts: list[Rollouts]) -> str:
    """Return one picture as SVG, without a background: the page's own shows through."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" '
        f'font-family="{FONT}">',
        f"<title>{escape(words.summary)}</title>",
        *draw_looks(looks, words, theme),
        *draw_rollouts(rollouts, words, theme),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def pictures() -> dict[str, str]:
    """Return every picture by its path in the repository."""
    looks, rollouts = read_looks(), read_rollouts()
    return {
        f"{PICTURES}/at-a-glance.{language}.{background}.svg": draw(words, theme, looks, rollouts)
        for language, words in WORDS.items()
        for background, theme in THEMES.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a picture is stale")
    given = parser.parse_args()
    stale = {name: drawn for name, drawn in pictures().items() if not _is_written(ROOT / name, drawn)}
    if given.check and stale:
        sys.exit(f"stale: {', '.join(stale)}; run `make docs`")
    for name, drawn in stale.items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(drawn)
        print(f"wrote {name}")


def _is_written(path: Path, drawn: str) -> bool:
    return path.exists() and path.read_text() == drawn


if __name__ == "__main__":
    main()
