"""What goes wrong on real hosts, each told in one sentence, the others untouched, the old version still there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.dear import dear
from support.lab_site import BIN, Site, on_host, steelyard

from steelyard.inventory.ansible import encrypt_value
from steelyard.lab.nspawn.paths import cache_root


def run(inventory: Path, command: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = steelyard(command, "-i", str(inventory), *words, **environment)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


def edit(inventory: Path, name: str, **changes: Any) -> None:
    """Change keys of a file in group_vars/all; dotted names lead into it."""
    path = inventory / "group_vars" / "all" / name
    content = yaml.safe_load(path.read_text())
    for dotted, value in changes.items():
        place = content
        *way, last = dotted.split("__")
        for key in way:
            place = place[key]
        place[last] = value
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
def broken(site: Site, tmp_path: Path) -> Path:
    """A copy of the inventory, to be broken."""
    return site.copy(tmp_path)


def add_host(inventory: Path, name: str, address: str) -> None:
    hosts = yaml.safe_load((inventory / "hosts.yml").read_text())
    hosts["all"]["children"]["gpu"]["hosts"][name] = {"ansible_host": address}
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))


def test_unreachable_host_is_told_and_the_others_are_planned(site: Site, broken: Path) -> None:
    add_host(broken, "gpu-2", f"10.77.{site.lab.slot}.200")
    done = run(broken, "plan", "--json")
    assert done.returncode == 3
    hosts = {host["host"]: host for host in json.loads(done.stdout)["hosts"]}
    assert hosts["gpu-2"]["error"]["error"] == "HostUnreachable"
    assert [hosts[name]["error"] for name in ("gpu-1", "gw-1", "mirror-1")] == [None] * 3
    assert hosts["gpu-1"]["in_sync"] > 20
    applied = run(broken, "apply", "--yes")
    assert applied.returncode == 3
    assert "error: gpu-2: unreachable:" in applied.stderr


def test_changed_host_key_is_told_and_nothing_is_sent(site: Site, broken: Path) -> None:
    known = site.lab.paths.known_hosts.read_text().splitlines()
    other = next(line for line in known if line.startswith("mirror-1 ")).split()[1:]
    address = site.address("gw-1")
    lines = [
        line if line.split()[0] not in ("gw-1", address) else " ".join([line.split()[0], *other]) for line in known
    ]
    (broken.parent / "known").write_text("\n".join(lines) + "\n")
    edit(
        broken,
        "connection.yml",
        ansible_ssh_common_args=f"-o UserKnownHostsFile={broken.parent}/known -o StrictHostKeyChecking=yes",
    )
    done = run(broken, "plan", "--json")
    errors = {host["host"]: (host["error"] or {}).get("error") for host in json.loads(done.stdout)["hosts"]}
    assert errors == {"mirror-1": None, "gw-1": "HostKeyChanged", "gpu-1": None}
    assert "ssh-keygen -R" in done.stderr + done.stdout


def test_unknown_host_key_is_told(site: Site, broken: Path) -> None:
    (broken.parent / "known").write_text("")
    edit(
        broken,
        "connection.yml",
        ansible_ssh_common_args=f"-o UserKnownHostsFile={broken.parent}/known -o StrictHostKeyChecking=yes",
    )
    done = run(broken, "status")
    assert done.returncode == 3
    assert "no host key for" in done.stderr
    assert (broken.parent / "known").read_text() == ""


def test_user_without_sudo_is_told_without_a_prompt(site: Site, broken: Path) -> None:
    site.sh("gw-1", "mv /etc/sudoers.d/ops /root/ops.kept; echo 'ops ALL=(ALL) ALL' > /etc/sudoers.d/ops")
    try:
        done = run(broken, "plan", "--json")
        errors = {host["host"]: (host["error"] or {}).get("error") for host in json.loads(done.stdout)["hosts"]}
    finally:
        on_host(site, "gw-1", "mv /root/ops.kept /etc/sudoers.d/ops")
    assert (done.returncode, errors) == (3, {"mirror-1": None, "gw-1": "SudoRefused", "gpu-1": None})
    assert site.changed("plan") == {}


def test_vault_password_wrong_or_missing_is_told_before_a_connection(broken: Path) -> None:
    (broken / ".vault-password").write_text("wrong\n")
    wrong = run(broken, "plan")
    assert (wrong.returncode, "does not open the vault values" in wrong.stderr) == (1, True)
    (broken / ".vault-password").unlink()
    missing = run(broken, "plan")
    assert (missing.returncode, "no vault password was given" in missing.stderr) == (1, True)


def test_apply_without_a_terminal_needs_yes_and_touches_nothing(site: Site, broken: Path) -> None:
    edit(broken, "roles.yml", gateway__check_s=7) if False else (broken / "group_vars" / "gateway.yml").write_text(
        "base: {open_files: 4096}\n"
    )
    done = run(broken, "apply")
    assert done.returncode == 1
    assert "changes are pending and there is no terminal" in done.stderr
    assert site.changed("plan") == {}


@pytest.fixture
def second_version(site: Site, broken: Path, tmp_path: Path) -> Iterator[Path]:
    """models.yml declares v2 from a folder of the test's own; afterwards the site is as before."""
    source = tmp_path / "v2"
    shutil.copytree(cache_root() / "models/tiny/v2", source)
    edit(broken, "models.yml", **{"models__llm/tiny__source": f"file://{source}", "models__llm/tiny__version": "v2"})
    yield source
    assert site.changed("plan") == {}, "the old version is not as it was"


def old_version_serves(site: Site) -> None:
    assert site.sh("gpu-1", "readlink /models/llm/tiny/current").strip() == "v1"
    [service] = next(host for host in site.json("status")["hosts"] if host["host"] == "gpu-1")["status"]["services"]
    assert (service["state"], service["mounted"]) == ("active", "/models/llm/tiny/v1")


def test_corrupted_shard_is_named_and_the_old_version_stays(site: Site, broken: Path, second_version: Path) -> None:
    """The bytes change after they were hashed, with size and time kept: what arrives is not what was declared."""
    assert run(broken, "plan", "--deploy", "models").returncode == 2  # hashes are taken
    shard = second_version / "model-00002-of-00002.safetensors"
    stat = shard.stat()
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF  # not a norm's: those are ones in every version, and the host has them
    shard.write_bytes(bytes(content))
    os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    done = run(broken, "apply", "--deploy", "models", "--yes")
    assert done.returncode == 3
    assert "of model-00002-of-00002.safetensors is not what it was when the source was read" in done.stderr
    assert site.sh("gpu-1", "ls /models/llm/tiny").split() == ["current", "v1"]
    old_version_serves(site)


def test_disk_full_during_the_copy_leaves_nothing_and_gives_the_space_back(
    site: Site, broken: Path, second_version: Path
) -> None:
    """The room is there where the plan looks, and gone where the files arrive."""
    (second_version / "large.txt").write_bytes(os.urandom(150 << 20))
    site.sh(
        "gpu-1", "mkdir -p /models/.steelyard/staging && mount -t tmpfs -o size=400m tmpfs /models/.steelyard/staging"
    )
    try:
        free = "df --output=avail -B1 /models/.steelyard/staging | tail -1"
        site.sh("gpu-1", "head -c 330000000 /dev/zero > /models/.steelyard/staging/filler")
        before = site.sh("gpu-1", free)
        done = run(broken, "apply", "--deploy", "models", "--yes")
        assert done.returncode == 3, done.stdout + done.stderr
        assert "the disk is full" in done.stderr
        assert "the space was given back" in done.stderr
        assert site.sh("gpu-1", free) == before
        assert site.sh("gpu-1", "ls /models/llm/tiny").split() == ["current", "v1"]
    finally:
        site.sh("gpu-1", "umount /models/.steelyard/staging")
    old_version_serves(site)


def test_missing_source_is_told_and_hosts_stay(site: Site, broken: Path) -> None:
    edit(
        broken,
        "models.yml",
        models={"llm/tiny": {"source": "file:///nowhere", "version": "v9", "serve": {"hosts": "gpu"}, "alias": "tiny"}},
    )
    done = run(broken, "plan")
    assert done.returncode == 3
    assert "the source of model `llm/tiny` is not there: /nowhere" in done.stderr


def test_port_in_use_is_told_with_the_proxys_words(site: Site, broken: Path) -> None:
    text = (broken / "group_vars" / "all" / "roles.yml").read_text()
    (broken / "group_vars" / "all" / "roles.yml").write_text(
        text.replace("port: 8080", "port: 8090")
    )  # the simulated Dify's
    done = run(broken, "apply", "--deploy", "serve", "--yes")
    assert done.returncode == 3
    assert "gateway | Load the gateway's configuration" in done.stderr
    repaired = run(site.inventory, "apply", "--yes")
    assert repaired.returncode == 0, repaired.stderr
    assert site.changed("plan") == {}


@dear(0, 3)
def test_engine_that_does_not_start_is_told_by_its_cause(site: Site, broken: Path) -> None:
    add_model = {
        "source": f"file://{cache_root()}/models/tiny/v1",
        "version": "v1",
        "serve": {"hosts": "gpu[0]", "port": 8001, "options": {"no-such-option": 1}, "options_check": "ignore"},
        "alias": "never",
    }
    content = yaml.safe_load((broken / "group_vars" / "all" / "models.yml").read_text())
    content["models"]["llm/never"] = add_model
    roles = broken / "group_vars" / "all" / "roles.yml"
    roles.write_text(roles.read_text().replace("port: 8080\n", "port: 8080\n  healthy_s: 1\n"))
    (broken / "group_vars" / "all" / "models.yml").write_text(yaml.safe_dump(content))
    done = run(broken, "apply", "--deploy", "models", "--yes")
    assert done.returncode == 0, done.stderr
    done = run(broken, "apply", "--deploy", "serve", "--yes")
    site.sh(
        "gpu-1",
        "systemctl disable --now steelyard-vllm@never; systemctl reset-failed; "
        "rm -rf /etc/steelyard/services/never.* /etc/steelyard/keys/never "
        "/etc/systemd/system/steelyard-vllm@never.service.d "
        "/models/llm/never /models/.steelyard/published/llm%2Fnever*; systemctl daemon-reload",
        check=False,
    )
    assert done.returncode == 3
    assert "error: gpu-1: service never: " in done.stderr
    assert "no-such-option" in done.stderr.split("error: gpu-1: service never: ")[1].splitlines()[0]
    repaired = run(site.inventory, "apply", "--yes", "--prune")
    assert repaired.returncode == 0, repaired.stderr
    old_version_serves(site)


def test_dify_down_is_told_and_the_hosts_are_planned(site: Site, broken: Path) -> None:
    site.sh("gw-1", "systemctl stop lab-dify")
    try:
        done = run(broken, "drift", "--json")
    finally:
        site.sh("gw-1", "systemctl start lab-dify; sleep 1")
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert [error["error"] for error in answer["errors"]] == ["DifyUnreachable"]
    assert [host["error"] is None for host in answer["hosts"]] == [True, False, True]


def test_wrong_dify_password_is_tried_once(site: Site, broken: Path) -> None:
    block = "\n".join(
        "    " + line for line in encrypt_value("wrong-passw0rd", broken / ".vault-password").splitlines()
    )
    text = (broken / "group_vars" / "all" / "roles.yml").read_text()
    start = text.index("  password: !vault")
    end = text.index("  client: dify")
    (broken / "group_vars" / "all" / "roles.yml").write_text(
        text[:start] + "  password: !vault |\n" + block + "\n" + text[end:]
    )
    done = run(broken, "apply", "--yes")
    assert done.returncode == 3
    assert "Dify refused the login of `admin@lab.example`" in done.stderr
    assert "wrong-passw0rd" not in done.stderr + done.stdout
    tries = "import json,glob; print(json.load(open(glob.glob('/var/lib/private/lab-dify/state.json')[0]))['tries'])"
    assert site.sh("gw-1", f'python3 -c "{tries}"').strip() == "{'admin@lab.example': 1}"
    assert site.changed("plan") == {}


def test_alias_that_gives_no_token_is_not_registered(site: Site, broken: Path) -> None:
    """The declared key of Dify's client is unknown to the gateway: the endpoint is asked before Dify is."""
    text = (broken / "group_vars" / "all" / "roles.yml").read_text()
    (broken / "group_vars" / "all" / "roles.yml").write_text(
        text.replace("client: dify ", "client: nobody ").replace("dify:\n  url", "dify:\n  credential: other\n  url")
    )
    done = run(broken, "apply", "--deploy", "dify", "--yes")
    assert done.returncode == 3
    assert "alias `tiny` gives no token at" in done.stderr
    assert site.changed("plan") == {}


def test_pyinfra_itself_runs_the_same_files(site: Site) -> None:
    """Through the entry point: the generated inventory.py, the same deploy, our connector, nothing to change."""
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [str(BIN / "pyinfra"), "--dry", str(site.inventory / "inventory.py"), str(root / "deploy" / "site.py")],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=root,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "@steelyard/gpu-1" in done.stdout + done.stderr
    for secret in site.secrets.values():
        assert secret not in done.stdout + done.stderr
