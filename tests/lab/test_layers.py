"""A layer saved from a host that started from a layer: the next host sees what the saved one saw, but for what is one
host's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.lab.nspawn.layers import save_layer
from steelyard.lab.nspawn.machine import Machine, mount_overlay
from steelyard.lab.nspawn.network import LabNetwork
from steelyard.lab.nspawn.paths import LabPaths, base_folder, layer_folder
from steelyard.lab.nspawn.programs import run
from steelyard.lab.nspawn.spec import LabHost


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("STEELYARD_LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("STEELYARD_LAB_CACHE", str(tmp_path / "cache"))
    made = Machine(LabPaths("layers"), LabNetwork(0), LabHost(name="one", groups=(), layer="kept"), 0)
    base_folder(made.host.release).mkdir(parents=True)
    yield made
    if made.root.is_mount():
        run("umount", made.root)


def boot_anew(machine: Machine) -> Path:
    if machine.root.is_mount():
        run("umount", machine.root)
        shutil.rmtree(machine.folder)
    mount_overlay(machine)
    return machine.root


def seen(root: Path) -> dict[str, str]:
    """Every path with what it leads to or holds."""
    found = {}
    for folder, subfolders, files in os.walk(root):
        for name in [*subfolders, *files]:
            path = Path(folder) / name
            told = f"-> {path.readlink()}" if path.is_symlink() else "folder" if path.is_dir() else path.read_text()
            found[str(path.relative_to(root))] = told
    return found


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_layer_saved_over_itself_keeps_links_to_folders(machine: Machine) -> None:
    """Debian's nginx finds its modules through such a link: as an empty folder, nginx does not start."""
    root = boot_anew(machine)
    put(root / "usr/lib/nginx/modules/echo.so", "module")
    (root / "usr/share/nginx").mkdir(parents=True)
    (root / "usr/share/nginx/modules").symlink_to("../../lib/nginx/modules")
    save_layer(machine, "kept")
    root = boot_anew(machine)
    put(root / "usr/bin/one", "installed later")
    before = seen(root)
    save_layer(machine, "kept")
    assert seen(boot_anew(machine)) == before
    assert (machine.root / "usr/share/nginx/modules/echo.so").read_text() == "module"


def test_what_a_host_removed_or_replaced_stays_so_in_the_next_layer(machine: Machine) -> None:
    root = boot_anew(machine)
    for folder in ("removed", "made-anew", "now-a-link", "now-a-file", "kept"):
        put(root / "opt" / folder / "old", "old")
    put(root / "opt/gone", "old")
    save_layer(machine, "kept")
    root = boot_anew(machine)
    for folder in ("removed", "made-anew", "now-a-link", "now-a-file"):
        shutil.rmtree(root / "opt" / folder)
    put(root / "opt/made-anew/new", "new")
    (root / "opt/now-a-link").symlink_to("kept")
    put(root / "opt/now-a-file", "a file")
    put(root / "opt/kept/new", "new")
    (root / "opt/gone").unlink()
    before = seen(root)
    save_layer(machine, "kept")
    assert seen(boot_anew(machine)) == before
    assert {path for path in before if path.startswith("opt/")} == {
        "opt/made-anew",
        "opt/made-anew/new",
        "opt/now-a-link",
        "opt/now-a-file",
        "opt/kept",
        "opt/kept/old",
        "opt/kept/new",
    }


def test_hosts_keep_the_layer_they_run_on(machine: Machine) -> None:
    root = boot_anew(machine)
    put(root / "usr/bin/one", "one")
    save_layer(machine, "kept")
    root = boot_anew(machine)
    put(root / "usr/bin/two", "two")
    save_layer(machine, "kept")
    # an inode that was never read: what is cached would be there even if its folder had gone
    Path("/proc/sys/vm/drop_caches").write_text("2")
    assert {name: (root / "usr/bin" / name).read_text() for name in ("one", "two")} == {"one": "one", "two": "two"}
    assert layers(machine) == [".kept.1", ".kept.2", "kept"]
    root = boot_anew(machine)
    assert (root / "usr/bin/two").read_text() == "two"
    save_layer(machine, "kept")
    assert layers(machine) == [".kept.2", ".kept.3", "kept"], "nobody runs on the first one any more"


def test_a_layer_of_a_version_that_lost_links_is_not_used_and_goes(machine: Machine) -> None:
    put(layer_folder("kept") / "usr/share/nginx/modules/nothing", "")
    root = boot_anew(machine)
    assert machine.lacks_layer
    assert not (root / "usr").exists()
    put(root / "usr/bin/two", "two")
    save_layer(machine, "kept")
    assert not machine.lacks_layer
    assert seen(boot_anew(machine)).keys() == {"usr", "usr/bin", "usr/bin/two"}
    assert layers(machine) == [".kept.1", "kept"]


def layers(machine: Machine) -> list[str]:
    return sorted(path.name for path in layer_folder("kept").parent.iterdir())


def test_a_layer_holds_nothing_of_one_host(machine: Machine) -> None:
    root = boot_anew(machine)
    for path in (
        "etc/hostname",
        "etc/nginx/conf.d/steelyard-wheels.conf",
        "models/m/v1/weights",
        "var/log/nginx/access.log",
    ):
        put(root / path, "one's")
    save_layer(machine, "kept")
    kept = seen(layer_folder("kept"))
    assert {path for path, what in kept.items() if what == "one's"} == set()
    assert kept["etc/nginx/conf.d"] == kept["var/log/nginx"] == "folder"
