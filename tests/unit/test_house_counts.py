"""The counts of tools/house.py, each on a small tree whose figures a reader can check by eye."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))
import house

PYPROJECT = """
[tool.setuptools.package-dir]
"steelyard" = "src/steelyard"
"steelyard_host" = "src/steelyard_host"
"steelyard.modules" = "modules"
"""


def tree(folder: Path, files: dict[str, str]) -> house.Checkout:
    (folder / "pyproject.toml").write_text(PYPROJECT)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return house.read_checkout(folder)


def test_loose_files_and_rooms(tmp_path: Path) -> None:
    files = ("__init__.py", "site.py", "cli/__init__.py", "cli/main.py", "cli/models/group.py")
    checkout = tree(
        tmp_path, {f"src/steelyard/{name}": "" for name in files} | {"modules/facts/path.py": "", "tests/test_a.py": ""}
    )
    assert house.loose_files(checkout, "steelyard") == ["src/steelyard/site.py"]
    assert house.loose_files(checkout, "steelyard_host") == []
    assert house.rooms(checkout) == ["steelyard", "steelyard.cli", "steelyard.cli.models", "steelyard.modules.facts"]


def test_circle_through_a_function_and_one_for_types_only(tmp_path: Path) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from steelyard.render.plan import Plan\n"
    checkout = tree(
        tmp_path,
        {
            "src/steelyard_host/stack.py": "def up():\n    from steelyard_host import database\n",
            "src/steelyard_host/database.py": "from .stack import up\n",
            "src/steelyard/cli/__init__.py": "",
            "src/steelyard/cli/run.py": typed,
            "src/steelyard/render/plan.py": "from ..cli import run\nimport steelyard.render.other\n",
            "src/steelyard/render/other.py": "",
        },
    )
    hosts = "steelyard_host.database <-> steelyard_host.stack"
    assert house.circles_of_files(checkout) == [hosts]
    assert house.circles_of_files(checkout, with_typing=True) == ["steelyard.cli.run <-> steelyard.render.plan", hosts]
    assert house.circles_of_packages(checkout) == [hosts]
    assert house.circles_of_packages(checkout, with_typing=True) == ["steelyard.cli <-> steelyard.render", hosts]


def test_packages_may_be_in_a_circle_where_files_are_not(tmp_path: Path) -> None:
    files = {
        "a/one.py": "from steelyard.b import one\n",
        "a/two.py": "",
        "b/one.py": "",
        "b/two.py": "import steelyard.a.two\n",
    }
    checkout = tree(tmp_path, {f"src/steelyard/{name}": text for name, text in files.items()})
    assert house.circles_of_files(checkout) == []
    assert house.circles_of_packages(checkout) == ["steelyard.a <-> steelyard.b"]


def test_circles_that_share_a_node_are_one_group() -> None:
    edges = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "b"), ("d", "e"), ("x", "y"), ("y", "x"), ("e", "x")]
    assert house.circles(edges) == [["a", "b", "c", "d"], ["x", "y"]]


def test_longest_function_is_counted_from_its_def_to_its_end(tmp_path: Path) -> None:
    text = "@mark\nasync def long():\n    a = 1\n\n    return a\n\n\ndef short(): ...\n"
    checkout = tree(tmp_path, {"modules/facts/a.py": text, "tests/test_a.py": "def test():\n" + "    pass\n" * 9})
    assert house.function_lengths(checkout) == [(4, "modules/facts/a.py:2 long"), (1, "modules/facts/a.py:8 short")]


def test_class_name_twice(tmp_path: Path) -> None:
    text = "class Kind: ...\nclass _Reader: ...\nclass Settings: ...\n"
    checkout = tree(
        tmp_path, {"modules/a.py": text + "class Once: ...\n", "roles/b.py": text, "tests/c.py": "class Once: ...\n"}
    )
    assert house.class_names_twice(checkout) == ["Kind: roles/b.py:1, modules/a.py:1"]


@pytest.mark.parametrize(
    "text",
    [
        "found = 1",
        "found: int = 1",
        "found += 1",
        "found, other = 1, 2",
        "for found in (): pass",
        "with a as found: pass",
        "(found := 1)",
        "[found for found in ()]",
    ],
)
def test_assignment_in_every_form(tmp_path: Path, text: str) -> None:
    checkout = tree(tmp_path, {"modules/a.py": "print(found)\nself.found = 1\ncall(found=1)\n" + text})
    assert house.assignments(checkout, "found") == ["modules/a.py:4"]


def test_untyped_boundary(tmp_path: Path) -> None:
    text = (
        "def public(a: dict[str, Any], *, b: int, **c: list[dict[str, Any]]) -> 'dict[str, Any] | None': ...\n"
        "def _private(a: dict[str, Any]): ...\n"
        "def typed(a: dict[str, int]): ...\n"
        "class Public:\n    def method(self) -> Dict[str, Any]:\n        def inner(a: dict[str, Any]): ...\n"
        "class _Private:\n    def method(self) -> dict[str, Any]: ...\n"
    )
    checkout = tree(tmp_path, {"roles/a.py": text})
    assert [place.partition(" ")[2] for place in house.untyped_boundaries(checkout)] == [
        "public a",
        "public c",
        "public return",
        "Public.method return",
    ]


@pytest.mark.parametrize(
    ("docstring", "subjectless"),
    [
        ("Of the kind: what all its services share.", True),
        ("What the kernel says.", True),
        ("Its parts.", True),
        ("Where the files lie.", True),
        ("Raises OSError.", True),
        ("Those that run.", True),
        ("Nobody new.", True),
        ("Path of the unit.", False),
        ("Those files that run.", False),
        ("This module reads.", False),
        ("Return what the kernel says.", False),
        ("Whether a host answers.", False),
        ("On-demand services stop.", False),
        ("`of` and `in`.", False),
    ],
)
def test_docstring_without_subject(docstring: str, subjectless: bool) -> None:
    assert house.is_subjectless(docstring) is subjectless


def test_public_docstrings_are_counted_and_private_ones_are_not(tmp_path: Path) -> None:
    text = (
        '"""Of a module."""\ndef public():\n    """Of a function."""\n    def inner():\n        """Of nobody."""\n'
        'def _private():\n    """Of nobody."""\nclass Public:\n    """Of a class."""\n'
        '    def method(self):\n        """Return a thing.\n\n        Of no account."""\n    def bare(self): ...\n'
    )
    checkout = tree(tmp_path, {"modules/a.py": text})
    assert len(house.public_docstrings(checkout)) == 4
    assert [place.partition(" ")[2] for place in house.docstrings_without_subject(checkout)] == [
        "Of a module.",
        "Of a class.",
        "Of a function.",
    ]


def test_lines(tmp_path: Path) -> None:
    skip = "a = 1  # fmt: " + "skip\n"
    checkout = tree(
        tmp_path, {"tests/a.py": skip + "b = '" + "x" * 114 + "'\n" + "b = '" + "x" * 115 + "'\n", "tools/b.py": skip}
    )
    assert house.format_skips(checkout) == ["tests/a.py:1", "tools/b.py:1"]
    assert house.long_lines(checkout) == ["tests/a.py:3"]


def test_table_of_before_and_after(tmp_path: Path) -> None:
    for name, text in (("old", "found = 1\nfound = 2\n"), ("new", "stored = 1\n")):
        (tmp_path / name).mkdir()
        tree(tmp_path / name, {"modules/a.py": text})
    script = house.ROOT / "tools/house.py"
    argv = [sys.executable, str(script), "--repo", str(tmp_path / "new"), "--compare", str(tmp_path / "old")]
    table = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert table[0] == "| measure | before | after |"
    assert "| assignments to found | 2 | 0 |" in table
    counts = json.loads(subprocess.run([*argv, "--json"], capture_output=True, text=True, check=True).stdout)
    assert counts["before"]["assignments to found"] == 2
    assert counts["after"]["longest function"] == 0


def test_every_measure_counts_this_checkout() -> None:
    checkout = house.read_checkout()
    counts = house.count_all(checkout)
    assert {module.name for module in checkout.modules} > {
        "steelyard.cli.main",
        "steelyard_host.__main__",
        "steelyard.modules.facts.path",
    }
    assert {*house.MEASURES} < {*counts}
    assert int(counts["public docstrings"]) > 1000
