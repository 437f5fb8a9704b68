"""The house rules that a reader should be able to rely on: arrows one way, one import name, files that fit a screen."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import house  # noqa: E402

CHECKOUT = house.read_checkout(ROOT)
GROUPED = ("cli", "roles", "lab", "workflows", "render", "dify_double")
# Room -> the rooms that it may import. Every room stands below those that it names, so there is no circle.
ROOMS = {
    "dify_double": "",
    "host": "",
    "host.errors": "",
    "host.paths": "",
    "host.wire": "",
    "host.system": "host.errors host.paths",
    "host.hardware": "host.system host.wire",
    "host.dify": "host.errors host.paths host.system host.wire",
    "host.engine": "host.errors host.paths host.system host.wire",
    "host.memory": "host.paths host.system host.wire",
    "host.mirror": "host.system host.wire",
    "host.causes": "host.engine host.errors host.wire",
    "host.proxy": "host.engine host.paths host.system host.wire",
    "host.store": "host.engine host.errors host.hardware host.paths host.system host.wire",
    "host.supervise": (
        "host.causes host.engine host.errors host.hardware host.mirror host.paths host.proxy host.system host.wire"
    ),
    "host.rollout": (
        "host.causes host.engine host.errors host.hardware host.paths host.proxy host.store host.supervise "
        "host.system host.wire"
    ),
    "host.commands": (
        "host.causes host.dify host.engine host.hardware host.memory host.mirror host.proxy host.rollout "
        "host.store host.supervise host.wire"
    ),
    "host.__main__": "host.commands host.errors host.wire",
    "dirs": "",
    "errors": "",
    "interrupts": "errors",
    "modules": "",
    "steelyard": "",
    "api": "errors",
    "hardware": "host.wire",
    "models": "host.wire",
    "serving": "host.paths",
    "drift": "api dirs errors",
    "events": "api errors",
    "progress": "api",
    "inventory": "api dirs errors steelyard",
    "site": "host.paths host.wire api errors inventory serving",
    "engine": "host.causes api dirs errors events interrupts inventory site",
    "models.fit": "host.wire hardware site",
    "models.content": "host.store errors models.fit",
    "models.distribution": "host.store host.wire errors events models.content",
    "models.sources": "dirs errors models.content models.fit site",
    "rollout": ("host.wire api dirs engine errors events interrupts models.content serving site"),
    "artifacts": (
        "host host.mirror host.paths host.system host.wire api dirs errors events inventory models.sources serving site"
    ),
    "dify": "host.dify artifacts dirs errors interrupts",
    "lab": "host host.wire api artifacts dify_double errors inventory",
    "modules.connectors": "host.paths host.wire api artifacts engine errors inventory",
    "completion": "inventory lab",
    "doctor": "host.wire api errors hardware inventory lab site",
    "modules.facts": "host.paths host.wire artifacts hardware modules.connectors serving",
    "render": (
        "host.wire api artifacts dify drift engine errors events hardware interrupts inventory lab models "
        "models.content models.distribution models.fit models.sources progress rollout site steelyard"
    ),
    "modules.operations": (
        "host.engine host.paths host.wire api artifacts dify errors events hardware models.content "
        "models.distribution models.fit modules.connectors modules.facts serving site"
    ),
    "roles": (
        "host.dify host.engine host.paths host.proxy host.store host.wire api artifacts dify errors hardware "
        "inventory models models.distribution models.fit models.sources modules.facts modules.operations "
        "serving site"
    ),
    "deploy": "modules.operations roles",
    "workflows": (
        "host.engine host.mirror host.paths host.store host.wire api artifacts deploy dirs engine errors events "
        "hardware interrupts inventory models models.content models.distribution models.fit models.sources "
        "modules.connectors modules.facts modules.operations roles rollout serving site steelyard"
    ),
    "cli": (
        "host.wire api artifacts completion dify doctor drift engine errors hardware interrupts inventory lab "
        "models.content models.distribution models.sources modules.facts render roles rollout site steelyard "
        "workflows"
    ),
}

CEILINGS = {
    "loose files in steelyard": 2,
    "loose files in steelyard_host": 2,
    "circles of packages, types too": 0,
    "class names twice": 0,
    "assignments to found": 17,
    "assignments to now": 8,
    "assignments to each": 2,
    "assignments to told": 3,
    "assignments to well": 0,
    "assignments to words": 2,
    "dict[str, Any] at boundaries": 26,
    "docstrings without subject": 1,
    "fmt skips": 0,
}
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


def room_of(module: str) -> str:
    """Name the room of a module: its package, below those of GROUPED the whole of it; `host` is steelyard_host."""
    room = CHECKOUT.room(module).removeprefix("steelyard.")
    top = room.split(".")[0]
    return top if top in GROUPED else room.replace("steelyard_host", "host")


def test_rooms_import_the_rooms_above_them_only() -> None:
    above: list[str] = []
    for room, allowed in ROOMS.items():
        assert set(allowed.split()) <= set(above), f"{room} may import only what stands above it in the table"
        above.append(room)
    modules = [name for name in CHECKOUT.names if not name.startswith("steelyard.example")]
    assert {room_of(name) for name in modules} == set(ROOMS)
    wrong = []
    for link in CHECKOUT.imports:
        room, other = room_of(link.importer), room_of(link.imported)
        if room != other and other not in ROOMS[room].split():
            wrong.append(f"{link.importer}:{link.line} imports {link.imported}")
    assert wrong == []


def test_no_arrow_of_the_table_is_left_over() -> None:
    drawn = {(room_of(link.importer), room_of(link.imported)) for link in CHECKOUT.imports}
    assert [
        (room, other) for room, allowed in ROOMS.items() for other in allowed.split() if (room, other) not in drawn
    ] == []


def test_no_files_import_each_other() -> None:
    assert house.circles_of_files(CHECKOUT, with_typing=True) == []


@pytest.mark.parametrize(("measure", "most"), CEILINGS.items(), ids=str)
def test_what_was_mended_does_not_grow_again(measure: str, most: int) -> None:
    """Ceilings fall: who brings a figure down writes it here. `tools/house.py --list MEASURE` names the places."""
    places = house.MEASURES[measure](CHECKOUT)
    assert len(places) <= most, "\n".join(str(place) for place in places)


def test_engine_knows_no_role_by_name() -> None:
    names = [path.name for path in (ROOT / "roles").iterdir() if (path / "tasks.py").exists()]
    for path in (ROOT / "src/steelyard/engine").rglob("*.py"):
        words = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        assert [name for name in names if name in words] == []


def test_files_hold_one_subject() -> None:
    assert [str(path) for path in FILES if len(path.read_text().splitlines()) > 400] == []


def test_helper_uses_the_standard_library_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"steelyard_host", "pynvml", "__future__"}
    for path in (ROOT / "src/steelyard_host").rglob("*.py"):
        assert {name.split(".")[0] for name in imported(path)} <= allowed


def test_every_operation_call_in_a_role_is_named() -> None:
    operations = {
        node.name
        for path in (ROOT / "modules/operations").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and any("operation" in ast.unparse(mark) for mark in node.decorator_list)
    }
    unnamed = []
    for path in [*(ROOT / "roles").rglob("tasks.py"), *(ROOT / "deploy").rglob("*.py")]:
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
        "print(len(sys.modules), [n for n in "
        "('pyinfra','ansible','rich','paramiko','gevent','pydantic','jinja2','yaml') if n in sys.modules])"
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


def test_make_test_runs_each_test_file_in_one_of_its_two_halves() -> None:
    """A half that collects nothing, or a file that none names, would only be seen by whoever reads the whole log."""
    done = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True)
    beside = next(line for line in done.stdout.splitlines() if "build/beside.log 2>&1" in line).split()
    named = [word for word in beside if word.startswith("tests/")]
    assert [name for name in named if "conftest" in name or not (ROOT / name).exists()] == []
    here = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    outside = {path for path in here if path.parts[1] not in ("lab", "gpu")}
    assert [path for path in outside if not any(path.is_relative_to(name) for name in named)] == []


def test_every_test_file_has_a_name_of_its_own() -> None:
    """pytest imports by base name: two files of one name cannot be collected in one run, and `make test-fast` is
    one.
    """
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
