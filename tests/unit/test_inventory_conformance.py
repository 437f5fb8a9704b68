"""Every host and variable of many inventories has the value that Ansible's own commands give it: as it is written
(`ansible-inventory --list`), and as it is meant (`ansible -m debug`).
"""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support import ansible_answers
from support.inventory_shapes import EXECUTABLE, PASSWORD, SHAPES, VAULTED, Shape

from steelyard.inventory.ansible import ADDED_BY_ANSIBLE, encrypt_value
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.inventory.layers import joined
from steelyard.inventory.listing import listing
from steelyard.inventory.read import read_fleet

MADE = 12  # inventories that are drawn
NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=5).map(lambda word: f"v_{word}")
SCALARS = st.none() | st.booleans() | st.integers(-9, 10**6) | st.text(string.printable[:-2], max_size=12)
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


@st.composite
def drawn(draw: st.DrawFn) -> Shape:
    """Groups in groups, variables on every level, and templates that ask for variables of `all`."""
    known = draw(st.dictionaries(NAMES, PLAIN.filter(lambda value: not _odd(value)), min_size=2, max_size=5))
    asking = st.sampled_from(sorted(known)).flatmap(
        lambda name: st.sampled_from(
            [
                f"{{{{ {name} }}}}",
                f"a {{{{ {name} | string | length }}}} b",
                f"{{{{ {name} is none }}}}",
                f"{{{{ [{name}, 1] }}}}",
            ]
        )
    )
    value = (PLAIN | asking).filter(lambda value: not _odd(value))
    hosts = [f"h{number}" for number in range(draw(st.integers(1, 4)))]
    groups = ["g0", "g1", "g2"][: draw(st.integers(1, 3))]
    tree: dict[str, Any] = {
        name: {"hosts": {}, "vars": draw(st.dictionaries(NAMES, value, max_size=2))} for name in groups
    }
    for host in hosts:
        tree[draw(st.sampled_from(groups))]["hosts"][host] = draw(st.dictionaries(NAMES, value, max_size=2))
    if len(groups) == 3:
        tree["g0"]["children"] = {"g2": None}
    files = {
        f"inventory/group_vars/{name}.yml": yaml.safe_dump(draw(st.dictionaries(NAMES, value, max_size=3)))
        for name in groups
    }
    if draw(st.booleans()):  # a layer above
        above = {name: {"vars": draw(st.dictionaries(NAMES, value, max_size=2))} for name in groups}
        above[groups[-1]]["hosts"] = {hosts[0]: draw(st.dictionaries(NAMES, value, max_size=2)), "h9": {}}
        files["inventory-2/hosts.yml"] = yaml.safe_dump({"all": {"children": above}})
        files["inventory-2/group_vars/all.yml"] = yaml.safe_dump(draw(st.dictionaries(NAMES, value, max_size=3)))
    return {
        "inventory/hosts.yml": yaml.safe_dump(
            {"all": {"vars": draw(st.dictionaries(NAMES, value, max_size=2)), "children": tree}}
        ),
        "inventory/group_vars/all.yml": yaml.safe_dump(known),
        f"inventory/host_vars/{hosts[0]}.yml": yaml.safe_dump(draw(st.dictionaries(NAMES, value, max_size=3))),
        **files,
    }


def _odd(value: object) -> bool:
    """Whether a drawn text has signs of templates, which would be wrong ones."""
    return any(sign in repr(value) for sign in ("{{", "{%", "{#", "#}", "%}"))


def made() -> dict[str, Shape]:
    """The same number of drawn inventories each time: how many one seed gives depends on what else is loaded."""
    shapes: list[Shape] = []

    @settings(
        max_examples=MADE,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn())
    def draw(shape: Shape) -> None:
        shapes.append(shape)

    for number in count():
        if len(shapes) >= MADE:
            break
        seed(number)(draw)()
    return {f"drawn-{number}": shape for number, shape in enumerate(shapes[:MADE])}


@cache
def shapes() -> dict[str, Shape]:
    return {**SHAPES, **made()}


def write(folder: Path, shape: Shape, password: Path) -> None:
    for path, text in shape.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(encrypt_value(text.removeprefix(VAULTED), password) if text.startswith(VAULTED) else text)
        if text.startswith(EXECUTABLE):
            file.chmod(0o755)


def layered(folder: Path) -> Path:
    """The inventories of a shape as one."""
    return joined(Path(path.name) for path in sorted(folder.glob("inventory*")))


class Answers:
    """What ours and Ansible's commands say of one inventory."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self.fleet = fleet
        self.groups = json.loads((folder / "list.json").read_text())
        self.listed = self.groups.pop("_meta")["hostvars"]
        asked = json.loads((folder / "names.json").read_text())["asked_names"]
        self.meant: dict[str, dict[str, Any]] = {}
        for host in fleet.hosts:
            told = json.loads((folder / "values" / host.name).read_text())
            assert "msg" in told and not told.get("failed"), f"{folder}, {host.name}: {told}"
            values = zip(asked, told["msg"], strict=True)
            self.meant[host.name] = {name: value for name, value in values if value != ansible_answers.ABSENT}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    folder = tmp_path_factory.mktemp("inventories")
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    fleets: dict[str, Fleet] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        for name, shape in shapes().items():
            write(folder / name, shape, password)
            patched.chdir(folder / name)
            fleets[name] = read_fleet(layered(folder / name), password)
            names = sorted({key for host in fleets[name].hosts for key in host.written or host.variables})
            (folder / name / "names.json").write_text(json.dumps({"asked_names": names}))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {
        "PYTHONWARNINGS": "ignore",
        "ANSIBLE_LOCAL_TEMP": str(folder.parent / "ansible"),
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }
    words = [sys.executable, ansible_answers.__file__, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: Answers(folder / name, fleet) for name, fleet in fleets.items()}


def plain(value: Any) -> Any:
    """Ansible's marks of its JSON taken off."""
    if isinstance(value, dict):
        return (
            plain(value["__ansible_unsafe"])
            if set(value) == {"__ansible_unsafe"}
            else {key: plain(item) for key, item in value.items()}
        )
    return [plain(item) for item in value] if isinstance(value, list) else value


def as_meant(fleet: Fleet, host: FleetHost) -> dict[str, Any]:
    """Every variable of the host under the name it is written with, evaluated, read here or not."""
    said = host.written or host.variables
    return {name: _meant(fleet, host, name) for name in said}


def _meant(fleet: Fleet, host: FleetHost, name: str) -> Any:
    if host.written or name in host.templates:
        return fleet.resolve(host.name, name).value
    return host.variables[name]


def test_there_are_many_shapes() -> None:
    assert len(shapes()) >= 40


@pytest.mark.parametrize("name", [*SHAPES, *(f"drawn-{number}" for number in range(MADE))])
def test_values_are_ansibles_as_written_and_as_meant(answers: dict[str, Answers], name: str) -> None:
    case = answers[name]
    assert case.fleet.hosts
    assert {name: entry for name, entry in listing(case.fleet).items() if name != "_meta"} == case.groups
    for host in case.fleet.hosts:
        assert host.unresolved == {}
        listed = {
            key: plain(value) for key, value in case.listed.get(host.name, {}).items() if key not in ADDED_BY_ANSIBLE
        }
        assert (host.written or host.variables) == listed
        meant = json.loads(json.dumps(as_meant(case.fleet, host)))
        meant.pop("true", None)  # YAML's key `on:`, which no template can name
        assert meant == {key: value for key, value in case.meant[host.name].items() if key in listed}
        for key in set(host.variables) & set(meant) - host.templates - {"gateway", "docker", "models"}:
            assert json.loads(json.dumps(host.variables[key])) == meant[key]


def test_the_kept_inventories_are_the_read_ones(
    answers: dict[str, Answers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    kept = 0
    for name, shape in list(shapes().items())[::4]:
        write(tmp_path / name, shape, password)
        monkeypatch.chdir(tmp_path / name)
        first, second = (read_fleet(layered(tmp_path / name), password) for _ in range(2))
        assert (first.hosts, first.secrets, first.groups) == (second.hosts, second.secrets, second.groups)
        kept += second.digest is not None
    assert kept > 5
