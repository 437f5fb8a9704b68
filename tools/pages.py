"""What scripts write into pages: one list of all marked blocks, and how a block is read and written.

A block stands between `<!-- NAME -->` and `<!-- end -->`. A run that measured for half an hour must not lose its
figures without a word, so a page that lacks the marks, or has them twice, is an error and never left as it is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
BLOCKS = {  # name -> pages that show it; the command that writes it
    "headline": READMES,  # make transcript
    "transcript": ("docs/how-it-works/demo.md",),  # make transcript
    "engine": ("docs/how-it-works/costs.md",),  # make bench-engine
    "boot": ("docs/how-it-works/lab.md",),  # make bench-lab
    "rollout": ("docs/how-it-works/rollout.md",),  # make bench-rollout
    "distribute": ("docs/how-it-works/push.md",),  # make bench-distribute
    "load": ("docs/how-it-works/loading.md",),  # make bench-load
}


def _marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=^<!-- {name} -->\n)(.*?)(?=^<!-- end -->$)", re.S | re.M)


def replace_block(page: str, name: str, text: str) -> str:
    """Return the text of a page with `text` as its block. Raises ValueError unless the block is there exactly once."""
    replaced, count = _marked(name).subn(lambda _: text.rstrip("\n") + "\n", page)
    if count != 1:
        raise ValueError(
            f"a page needs the marks `<!-- {name} -->` and `<!-- end -->` once; this one has them {count} times"
        )
    return replaced


def write_block(name: str, text: str, root: Path = ROOT) -> None:
    """Write a block into every page that shows it; ends the script with one sentence, and the text, where a page has no
    place for it.
    """
    for page in BLOCKS[name]:
        path = root / page
        try:
            path.write_text(replace_block(path.read_text(), name, text))
        except (OSError, ValueError) as error:
            sys.exit(f"{text}\nnot written into {page}: {error}")


def read_block(name: str, root: Path = ROOT) -> str:
    """Return a block's text, from the first page that shows it."""
    page = BLOCKS[name][0]
    blocks = _marked(name).findall((root / page).read_text())
    if len(blocks) != 1:
        raise ValueError(f"{page} has the block `{name}` {len(blocks)} times, not once")
    return str(blocks[0])


def read_tables(text: str) -> dict[str, list[dict[str, str]]]:
    """Return the Markdown tables of a text: the head's first cell -> rows, each head's cell -> its cell."""
    tables: dict[str, list[dict[str, str]]] = {}
    head: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not head:
            head = cells
            tables[head[0]] = []
        elif set(line) - set("|-: "):
            tables[head[0]].append(dict(zip(head, cells, strict=True)))
    return tables
