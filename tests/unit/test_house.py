"""The house rules that a reader should be able to rely on: arrows one way, one import name, files that fit a screen."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = {"engine": "src", "modules": "modules", "roles": "roles", "deploy": "deploy"}
FILES = [path for folder in ("src", "modules", "roles", "deploy") for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_imported_by_a_second_name(path: Path) -> None:
    assert {name.split(".")[0] for name in imported(path)} & {"roles", "modules", "deploy", "src"} == set()


def test_arrows_point_one_way() -> None:
    wrong = []
    forbidden = {
        "src": ("steelyard.deploy",),
        "modules": ("steelyard.roles", "steelyard.deploy"),
        "roles": ("steelyard.deploy",),
    }
    for path in FILES:
        room = path.relative_to(ROOT).parts[0]
        for name in imported(path):
            if name.startswith(forbidden.get(room, ())) and path.name != "work.py":
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            is_engine = path.is_relative_to(ROOT / "src/steelyard/engine")
            if is_engine and name.startswith(("steelyard.roles", "steelyard.modules", "steelyard.deploy", "steelyard.cli")):
                wrong.append(f"the engine imports {name}")
    assert wrong == []


def test_engine_knows_no_role_by_name() -> None:
    names = [path.name for path in (ROOT / "roles").iterdir() if (path / "tasks.py").exists()]
    for path in (ROOT / "src/steelyard/engine").glob("*.py"):
        words = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        assert [name for name in names if name in words] == []


def test_files_hold_one_subject() -> None:
    assert [str(path) for path in FILES if len(path.read_text().splitlines()) > 400] == []


def test_helper_uses_the_standard_library_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"steelyard_host", "pynvml", "__future__"}
    for path in (ROOT / "src/steelyard_host").glob("*.py"):
        assert {name.split(".")[0] for name in imported(path)} <= allowed


def test_every_operation_call_in_a_role_is_named() -> None:
    operations = {
        node.name
        for path in (ROOT / "modules/operations").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and any("operation" in ast.unparse(mark) for mark in node.decorator_list)
    }
    unnamed = []
    for path in [*(ROOT / "roles").rglob("tasks.py"), *(ROOT / "deploy").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in operations
            if called and not any(keyword.arg == "name" for keyword in node.keywords):
                unnamed.append(f"{path}:{node.lineno}")
    assert unnamed == []


def test_roles_run_no_shell_of_their_own() -> None:
    assert [path for path in (ROOT / "roles").rglob("*.py") if "server.shell" in path.read_text()] == []


def test_help_loads_none_of_the_heavy_libraries() -> None:
    program = (
        "import sys; sys.argv=['steelyard','--help']\n"
        "from steelyard.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(len(sys.modules), [n for n in ('pyinfra','ansible','rich','paramiko','gevent','pydantic','jinja2','yaml') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, heavy = done.stdout.strip().splitlines()[-1].split(" ", 1)
    assert heavy == "[]"
    assert int(count) < 400


def test_nothing_names_a_place_of_one_machine_or_a_registry() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    words = ("/wo" + "rk/", "pypi." + "org", "deb." + "debian.org", "pythonho" + "sted", "sess" + "ion budget")
    wrong = []
    for name in tracked:
        path = ROOT / name
        if path.suffix not in (".json", ".png") and path.is_file():
            wrong += [f"{name}: {word}" for word in words if word in path.read_text(errors="replace")]
    assert wrong == []


def test_every_package_is_in_the_wheel() -> None:
    """A checkout finds what is not listed; a wheel does not have it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = set(settings["packages"])
    missing = []
    for name, folder in settings["package-dir"].items():
        for path in sorted((ROOT / folder).rglob("__init__.py")):
            below = path.parent.relative_to(ROOT / folder).parts
            if ".".join((name, *below)) not in listed:
                missing.append(".".join((name, *below)))
    assert missing == []
