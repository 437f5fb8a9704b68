"""The door for who comes next holds: what pages and docstrings name exists, and hosted pipelines run what they say."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))
from modules_page import ROOT, summary
from test_house import ROOMS

CODE = [
    path
    for folder in ("src", "roles", "modules", "deploy", "inventories", "tests", "tools")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".j2", ".yml", ".yaml", ".c", ".sh") and "release" not in path.parts
]
DOOR = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs/contributing").glob("*.md"))]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *DOOR, *sorted((ROOT / "docs").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.M))
OUTSIDE = re.compile(r"\bfacts: [a-z-]+\.md|\bdesign, section|\bdesign document\b")  # what is in no repository
FOLDERS = r"(src|modules|roles|deploy|inventories|tests|tools|docs|\.github|\.ci)"
GITHUB, GITLAB = ROOT / ".github/workflows/test.yml", ROOT / ".gitlab-ci.yml"
WITHOUT_ROOT = "make lint types docs-check test-fast"


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def cited(text: str) -> set[str]:
    """Pages of docs/ that a text names."""
    return set(re.findall(r"\bdocs/[\w./-]+\.md\b", text))


def made(text: str) -> set[str]:
    """Targets that a page gives to make, in blocks of shell and within lines."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, flags=re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", text)
    calls = [re.split(r"[#;&|]", line)[0] for line in lines if re.match(r"(\$ )?make ", line)]
    words = [word for call in calls for word in shlex.split(call)]
    return {word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)} - {"make"}


def named(text: str) -> Iterator[str]:
    """Files and folders of the repository that a page names in code; a word in capitals stands for a name."""
    for span in re.findall(r"`([^`\n]+)`", text):
        found = re.fullmatch(
            r"((?:src|modules|roles|deploy|inventories|tests|tools|docs|\.github|\.ci)/[^\s:*]*)", span
        )
        if found and not re.search(r"[A-Z]{3}", span.replace("README", "").replace("CHANGELOG", "")):
            yield found[1]


def test_pages_that_code_names_exist() -> None:
    files = [path for path in CODE if path.relative_to(ROOT).parts[0] != "tests"]
    wrong = [
        (relative(path), page) for path in files for page in cited(path.read_text()) if not (ROOT / page).is_file()
    ]
    assert wrong == [("src/steelyard/models/content/gguf.py", "docs/gguf.md")]  # a page of ggml's, and named as such


def test_no_docstring_cites_what_is_in_no_repository() -> None:
    files = [path for path in CODE if path != Path(__file__)]
    assert [relative(path) for path in files if OUTSIDE.search(path.read_text())] == []


def test_pages_of_design_are_cited_or_linked_by_a_page_beside_the_index() -> None:
    """A fact that nothing leads to is a fact that nobody keeps true."""
    texts = [path.read_text() for path in [*CODE, *PAGES] if path != ROOT / "docs/index.md"]
    pages = sorted((ROOT / "docs/design").glob("*.md"))
    assert [page.name for page in pages if not any(f"design/{page.name}" in text for text in texts)] == []


def test_figures_that_the_decisions_promise_are_printed_by_their_bench() -> None:
    page = (ROOT / "docs/design/decisions.md").read_text().split("| bench |")[1]
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", page, flags=re.M)
    assert len(rows) >= 6
    missing = [
        (bench, figure)
        for bench, figures in rows
        for figure in re.findall(r"`(\w+)`", figures)
        if f'"{figure}"' not in (ROOT / f"tests/bench/{bench}.py").read_text()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_targets_that_a_page_shows_are_in_the_makefile(page: Path) -> None:
    assert made(page.read_text()) - TARGETS == set()


@pytest.mark.parametrize("page", DOOR, ids=relative)
def test_files_that_a_page_for_contributors_names_exist(page: Path) -> None:
    assert [name for name in named(page.read_text()) if not (ROOT / name).exists()] == []


def test_every_kind_of_call_and_name_is_found() -> None:
    page = (
        "`make lint types`, `make ci-lock SITE=../x`, `make bench-NAME`\n```sh\nmake test  # all\n$ make demo; ls\n```"
    )
    assert made(page) == {"lint", "types", "ci-lock", "test", "demo"}
    assert list(named("`src/steelyard/dirs.py` `tests/facts/FILE.FACT/` `steelyard plan` `roles/base`")) == [
        "src/steelyard/dirs.py",
        "roles/base",
    ]
    assert cited("(docs/design/lab.md). See docs/x/y.md:") == {"docs/design/lab.md", "docs/x/y.md"}


@pytest.mark.parametrize(("heading", "folder"), [("controller", "src/steelyard"), ("helper", "src/steelyard_host")])
def test_every_room_has_its_line_in_the_architecture(heading: str, folder: str) -> None:
    page = (ROOT / "docs/contributing/architecture.md").read_text()
    section = page.split(f"## The rooms of the {heading}\n")[1].split("\n## ")[0]
    rooms = {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)` \|", section, flags=re.M)) == rooms


@pytest.mark.parametrize(("side", "prefix"), [("controller", ""), ("helper", "host.")])
def test_floors_of_the_architecture_are_the_outline_of_the_table_of_rooms(side: str, prefix: str) -> None:
    page = (ROOT / "docs/contributing/architecture.md").read_text()
    rows = page.split(f"| floor | rooms of the {side} |\n")[1].split("\n\n")[0]
    floors = {
        room: int(floor)
        for floor, rooms in re.findall(r"^\| (\d+) \| (.+) \|$", rows, flags=re.M)
        for room in re.findall(r"`(\w+)`", rooms)
    }
    arrows = {
        (room.removeprefix(prefix).split(".")[0], other.removeprefix(prefix).split(".")[0])
        for room, allowed in ROOMS.items()
        for other in allowed.split()
        if all(name.startswith("host.") == bool(prefix) and name != "host" for name in (room, other))
    }
    inside = {(room, other) for room, other in arrows if room != other} - {(room, "steelyard") for room in floors}
    rooms = {room for arrow in inside for room in arrow} - {"__main__", "dify_double"}
    assert rooms == {*floors}
    assert [(room, other) for room, other in sorted(inside) if floors.get(room, 99) <= floors.get(other, -1)] == []


@pytest.mark.parametrize(("path", "schema"), [(GITHUB, "github-workflows"), (GITLAB, "gitlab-ci")], ids=str)
def test_pipelines_are_what_github_and_gitlab_publish(path: Path, schema: str) -> None:
    check = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run([check, "--builtin-schema", f"vendor.{schema}", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_pipelines_run_the_same_on_the_same_pythons_and_none_as_root() -> None:
    github: dict[str, Any] = yaml.safe_load(GITHUB.read_text())["jobs"]["test"]
    gitlab: dict[str, Any] = yaml.safe_load(GITLAB.read_text())["test"]
    assert [step["run"] for step in github["steps"] if "run" in step] == [WITHOUT_ROOT]
    assert [line for line in gitlab["script"] if not line.endswith(WITHOUT_ROOT)] == []
    assert all(line.startswith("runuser -u tester -- ") for line in gitlab["script"])
    pythons = github["strategy"]["matrix"]["python"]
    assert pythons == gitlab["parallel"]["matrix"][0]["PYTHON_VERSION"]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert oldest == f">={pythons[0]}"


def test_actions_of_the_projects_own_pipeline_are_pinned_by_commit() -> None:
    used = re.findall(r"uses: (\S+)(.*)", GITHUB.read_text())
    assert len(used) == 2
    assert [line for line in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", "".join(line))] == []


def test_hooks_before_a_commit_are_targets_and_fetch_nothing() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    entries = [hook["entry"] for hook in hooks[0]["hooks"]]
    assert [entry for entry in entries if entry.removeprefix("make ") not in TARGETS] == []
    assert {*entries} == {f"make {target}" for target in WITHOUT_ROOT.split()[1:-1]}


def test_editors_and_the_linter_know_one_length_of_a_line() -> None:
    editors = re.search(r"^max_line_length = (\d+)$", (ROOT / ".editorconfig").read_text(), flags=re.M)
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["line-length"]
    assert editors is not None
    assert int(editors[1]) == ruff


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed on this machine")
def test_what_needs_no_root_asks_for_no_program_of_the_lab() -> None:
    """`make test-fast` of a plain user must not come to apt-get: it has no step `system`."""
    done = subprocess.run(["make", "-n", *WITHOUT_ROOT.split()[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mmdebstrap" not in done.stdout


def test_every_module_has_its_line_on_the_page_of_modules() -> None:
    page = (ROOT / "docs/contributing/modules.md").read_text()
    lines = set(re.findall(r"^\| `(\w+\.py)` \| .+ \|$", page, flags=re.M))
    modules = {path.name for folder in ("src", "roles", "modules", "deploy") for path in (ROOT / folder).rglob("*.py")}
    assert modules - lines == {"__init__.py"}


def test_a_module_is_told_by_the_first_paragraph_of_its_docstring() -> None:
    assert summary('"""Reads `a|b` of a\nhost; pure.\n\nMore of it.\n"""\n') == "Reads `a\\|b` of a host; pure."
    assert summary("x = 1\n") == ""
