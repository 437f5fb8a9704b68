"""Reads inventories of well-known public projects with ours and with `ansible-inventory --list`, and compares value for
value.

They come from the projects' own source packages, fetched into the user's cache and never committed. `PATH` of an entry
is the inventory inside the package; a password file opens its vault values. Prints a line for each, and ends with 1
where one differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.dirs import cache_folder

CORE = "test/integration/targets"


@dataclass(frozen=True)
class Source:
    """One inventory of one package. `shows` is what it is here for."""

    package: str
    path: str
    shows: str
    password: str | None = None
    executable: bool = False


SOURCES = (
    Source("kolla-ansible==22.2.0", "ansible/inventory/multinode", "INI, 200 groups, children of children"),
    Source("kolla-ansible==22.2.0", "ansible/inventory/all-in-one", "INI, one host in every group"),
    Source("kayobe==18.6.0", "etc/kayobe/inventory", "several INI sources and group_vars in one directory"),
    Source("tripleo-ansible==6.0.0", "tripleo_ansible/inventory", "sources in order, hosts with variables"),
    Source("tripleo-ansible==6.0.0", "tests/hosts.ini", "INI, a local host"),
    Source("ansible-lint==26.10.1", "examples/inventory/production.yml", "YAML, ranges, nested children"),
    Source("ansible-core==2.19.14", f"{CORE}/any_errors_fatal/inventory", "INI, ranges"),
    Source("ansible-core==2.19.14", f"{CORE}/unicode/inventory", "hosts and variables beyond ASCII"),
    Source("ansible-runner==2.4.3", "demo/inventory/hosts", "INI, host variables"),
    Source(
        "ansible-core==2.19.14",
        f"{CORE}/ansible-inventory/files/complex.ini",
        "INI, ranges, group variables, odd values",
    ),
    Source("ansible-core==2.19.14", f"{CORE}/ansible-inventory/files/unicode.yml", "names beyond ASCII"),
    Source(
        "ansible-core==2.19.14",
        f"{CORE}/var_precedence/inventory",
        "group_vars and host_vars, every level of precedence",
    ),
    Source("ansible-core==2.19.14", f"{CORE}/var_blending/inventory", "ranges, group_vars, host_vars"),
    Source("ansible-core==2.19.14", f"{CORE}/handlers/inventory.handlers", "INI"),
    Source(
        "ansible-core==2.19.14",
        f"{CORE}/ansible-vault/vaulted.inventory",
        "an encrypted source, encrypted host_vars",
        f"{CORE}/ansible-vault/vault-password",
    ),
    Source(
        "ansible-core==2.19.14",
        f"{CORE}/inventory_script/script_inventory_fixture.py",
        "a dynamic script",
        executable=True,
    ),
)


def unpack(package: str, folder: Path) -> Path:
    """The source package's root; fetched once."""
    name = package.split("==")[0].replace("-", "_")
    target = folder / package
    if not target.is_dir():
        fetched = folder / f"{package}.fetched"
        words = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            ":all:",
            package,
            "-d",
            str(fetched),
        ]
        subprocess.run(words, check=True, capture_output=True)
        [archive] = [path for path in fetched.iterdir() if path.name.replace("-", "_").startswith(name)]
        with tarfile.open(archive) as packed:
            packed.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12's Python 3.11.2 has none
            packed.extractall(target)
    [root] = [path for path in target.iterdir() if path.is_dir()]
    return root


def plain(value: Any) -> Any:
    """Ansible's marks for vault and unsafe values taken off; what is encrypted there is compared as such."""
    if isinstance(value, dict):
        if set(value) == {"__ansible_unsafe"}:
            return value["__ansible_unsafe"]
        if set(value) == {"__ansible_vault"}:
            return "vault"
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def without_vault(theirs: Any, ours: Any) -> Any:
    """Ours, with what Ansible shows encrypted replaced by the same mark, after looking that it is no longer
    encrypted.
    """
    if theirs == "vault" and isinstance(ours, str) and not ours.startswith("$ANSIBLE_VAULT"):
        return "vault"
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return {key: without_vault(theirs.get(key), value) for key, value in ours.items()}
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [without_vault(*pair) for pair in zip(theirs, ours, strict=True)]
    return ours


def listed(command: list[str], cwd: Path) -> Any:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # for a script's `python`
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "XDG_CACHE_HOME": str(cwd / "cache"),
        "INVENTORY_TEST_MODE": "no_profile",
    }  # which answer ansible-core's own test script gives
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-1500:]}")
    return json.loads(done.stdout)


def compare(source: Source, packages: Path, folder: Path) -> tuple[bool, str]:
    """Whether both say the same, and how much that is."""
    root = unpack(source.package, packages)
    path = root / source.path
    if source.executable:
        path.chmod(0o755)
    vault = ["--vault-password-file", str(root / source.password)] if source.password else []
    programs = Path(sys.executable).parent
    theirs = plain(listed([str(programs / "ansible-inventory"), "-i", str(path), "--list", *vault], folder))
    words = [str(programs / "steelyard"), "inventory", "-i", str(path), "--list", "--show-secrets", *vault]
    read, kept = listed(words, folder), listed(words, folder)
    ours = without_vault(theirs, read)
    hosts = len(theirs["_meta"]["hostvars"])
    values = sum(len(variables) for variables in theirs["_meta"]["hostvars"].values())
    counts = f"{hosts} hosts with variables, {values} values, {len(theirs) - 1} groups"
    if ours != theirs:
        different = [key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)]
        return False, f"{counts}; differs in {', '.join(sorted(different)[:5])}"
    return read == kept, counts if read == kept else "the kept inventory differs from the read one"


def main() -> None:
    wrong = 0
    packages = cache_folder() / "public-inventories"
    packages.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        for source in SOURCES:
            same, text = compare(source, packages, Path(made))
            wrong += not same
            print(
                f"{'same' if same else 'DIFFERS':8} {source.package:24} {source.path[-60:]:60} {text} ({source.shows})",
                flush=True,
            )
    print(
        f"{len(SOURCES) - wrong} of {len(SOURCES)} inventories of "
        f"{len({source.package for source in SOURCES})} projects agree, value for value"
    )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
