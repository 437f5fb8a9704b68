"""The store on real hosts: a NAS, a read-only root, leases, signatures, a cut link, memory, compiled artefacts, load
facts.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.dear import dear
from support.lab_site import STEELYARD, Site, on_host, steelyard
from test_models import BIG, FOLDER, HOSTS, Pushing, pushing
from test_serving import ask, chat

__all__ = ["pushing"]
HELPER = "/usr/lib/steelyard/steelyard-host.pyz"


def helper(site: Site, host: str, *words: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(on_host(site, host, f"python3 -I {HELPER} {' '.join(words)}"))
    return found


def redeclare(pushing: Pushing, **more: object) -> None:
    """Change what models.yml says of the pushed model."""
    found = yaml.safe_load(pushing.models.read_text())
    found["models"]["llm/pushed"] |= more
    pushing.models.write_text(yaml.safe_dump(found))


def test_a_version_on_a_read_only_nas_is_used_in_place(pushing: Pushing) -> None:
    site, source = pushing.site, pushing.folder / "source-v1"
    at = site.lab.paths.host("gw-1") / "root/srv/nas"
    at.mkdir(parents=True)
    for path in source.iterdir():
        (at / path.name).write_bytes(path.read_bytes())
    on_host(site, "gw-1", "mount --bind /srv/nas /srv/nas && mount -o remount,ro,bind /srv/nas")
    try:
        redeclare(pushing, shared="/srv/nas", hosts="gw-1")
        [pushed] = pushing.json("push", "llm/pushed")["models"]
        assert (list(pushed["hosts"]), pushed["origin_bytes"]) == (["gw-1"], 0)
        applied = steelyard("apply", "-i", str(pushing.inventory), "--deploy", "models", "--yes")
        assert applied.returncode == 0, applied.stderr
        assert on_host(site, "gw-1", f"readlink {FOLDER}/v1 {FOLDER}/current").split() == ["/srv/nas", "v1"]
        assert steelyard("plan", "-i", str(pushing.inventory), "--deploy", "models").returncode == 0
        assert pushing.json("verify", "llm/pushed")["hosts"][0]["verified"]["wrong"] == {}
        listed = {host["host"]: host["store"]["versions"] for host in pushing.json("ls")["hosts"]}
        assert [(row["shared"], row["own_bytes"]) for row in listed["gw-1"] if row["project"] == "llm/pushed"] == [
            ("/srv/nas", 0)
        ]
        # other bytes there are not what was declared
        pushing.declare("v2", seed=7)
        redeclare(pushing, shared="/srv/nas", hosts="gw-1")
        done = pushing.run("push", "llm/pushed")
        assert (done.returncode, "is other than at the source; nothing was published" in done.stderr) == (3, True), (
            done.stderr
        )
        # rot on the NAS is named, and is not ours to mend
        redeclare(pushing, source=f"file://{source}", version="v1")
        (at / "config.json").write_text("[]")
        assert pushing.run("verify", "llm/pushed").returncode == 2
        done = pushing.run("verify", "llm/pushed", "--repair")
        assert (done.returncode, "lies on /srv/nas, which is not ours to mend" in done.stderr) == (3, True), done.stderr
    finally:
        on_host(site, "gw-1", "umount -l /srv/nas; rm -rf /srv/nas")


def test_a_store_that_is_mounted_read_only_serves_what_it_has_and_takes_nothing(pushing: Pushing) -> None:
    site = pushing.site
    done = steelyard("apply", "-i", str(pushing.inventory), "--deploy", "models", "--yes")
    assert done.returncode == 0, done.stderr
    on_host(site, "gw-1", "mount --bind /models /models && mount -o remount,ro,bind /models")
    try:
        assert steelyard("plan", "-i", str(pushing.inventory), "--deploy", "models").returncode == 0
        pushing.declare("v2", seed=200)
        done = pushing.run("push", "llm/pushed")
        assert (done.returncode, "Read-only file system; nothing was published" in done.stderr) == (3, True), (
            done.stderr
        )
        assert on_host(site, "gpu-1", f"ls {FOLDER}").split() == ["current", "v1", "v2"]
        assert on_host(site, "gw-1", f"ls {FOLDER}").split() == ["current", "v1"]
    finally:
        on_host(site, "gw-1", "umount -l /models")


def test_versions_are_kept_compared_and_taken_out(pushing: Pushing, tmp_path: Path) -> None:
    pushing.json("push", "llm/pushed")
    pushing.declare("v2", seed=200)
    pushing.json("push", "llm/pushed")
    found = pushing.json("diff", "llm/pushed", "v1", "v2")
    assert (found["equal"], found["changed"], found["in_place"]) == (7, ["t7"], True)
    assert BIG // 8 <= found["send_bytes"] <= BIG // 8 + (1 << 16)
    kept = pushing.json("keep", "llm/pushed", "v1", "--for", "1", "--why", "the auditor looks at it")
    assert [len(host["leases"]) for host in kept["hosts"]] == [1, 1, 1]
    assert not any(host["removed"] for host in pushing.json("gc", "--keep", "0", "--yes")["hosts"])
    assert (
        "the auditor looks at it"
        in pushing.run("keep", "llm/pushed", "v1", "--for", "1", "--why", "the auditor looks at it").stdout
    )
    # out of a host: its source is gone from this machine
    (pushing.folder / "source-v1").rename(pushing.folder / "elsewhere")
    out = pushing.json("export", "llm/pushed", "v1", str(tmp_path / "out"))
    assert out["origin"] in HOSTS
    for path in (pushing.folder / "elsewhere").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert json.loads((tmp_path / "out/.steelyard/manifest.json").read_text())["id"] == out["id"]
    again = pushing.run("export", "llm/pushed", "v1", str(tmp_path / "out"))
    assert (again.returncode, "the folder is there already" in again.stderr) == (1, True)
    nowhere = pushing.run("export", "llm/pushed", "v9", str(tmp_path / "other"))
    assert (nowhere.returncode, "has no version `v9` on the hosts asked; there: v1, v2" in nowhere.stderr) == (1, True)
    pushing.json("keep", "llm/pushed", "v1", "--release")
    assert all("llm/pushed@v1" in host["removed"] for host in pushing.json("gc", "--keep", "0", "--yes")["hosts"])


def test_a_site_with_trusted_keys_takes_signed_versions_only(pushing: Pushing, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    roles = pushing.inventory / "group_vars/all/trusted.yml"
    roles.write_text(yaml.safe_dump({"model_store": {"trusted_keys": [(tmp_path / "key.pub").read_text()]}}))
    done = pushing.run("push", "llm/pushed")
    assert (done.returncode, "it is not signed, and the site trusts signed versions only" in done.stderr) == (
        1,
        True,
    ), done.stderr
    signed = pushing.json("sign", "llm/pushed", "--key", str(tmp_path / "key"))
    redeclare(pushing, signature=signed["signature"])
    for other in ("llm/tiny",):
        assert pushing.run("push", other).returncode == 1, "every model has to be signed"
    [pushed] = pushing.json("push", "llm/pushed")["models"]
    assert sorted(pushed["hosts"]) == HOSTS
    rows = [
        row
        for host in pushing.json("ls")["hosts"]
        for row in host["store"]["versions"]
        if row["project"] == "llm/pushed"
    ]
    assert [row["signed"] for row in rows] == [True] * 3
    assert pushing.run("verify", "llm/pushed").returncode == 0
    # a key that is no longer trusted: what lies on the hosts is named
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    roles.write_text(yaml.safe_dump({"model_store": {"trusted_keys": [(tmp_path / "other.pub").read_text()]}}))
    done = pushing.run("verify", "llm/pushed")
    assert (done.returncode, "the signature is not of a trusted key" in done.stderr) == (3, True), done.stderr


@dear(0, 2, "STEELYARD_STORE")
def test_a_link_that_is_cut_costs_the_others_nothing_and_is_taken_up_again(pushing: Pushing) -> None:
    site = pushing.site
    machine = next(machine for machine in site.lab.machines if machine.host.name == "gw-1")
    link = site.lab.net.veth(machine.number)
    words = ["push", "llm/pushed", "-i", str(pushing.inventory), "--json", "--rate", "24"]

    running = subprocess.Popen([STEELYARD, "models", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    staged = site.lab.paths.host("gw-1") / "root/models/.steelyard/staging/llm%2Fpushed@v1/model.safetensors"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (staged.exists() and staged.stat().st_blocks * 512 > BIG // 8):
        time.sleep(0.05)
    subprocess.run(["ip", "link", "set", link, "down"], check=True)
    try:
        out, errors = running.communicate(timeout=200)
    finally:
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
    [pushed] = json.loads(out)["models"]
    assert sorted(pushed["hosts"]) == ["gpu-1", "mirror-1"], errors
    assert running.returncode == 3
    [error] = json.loads(out)["errors"]
    assert error["where"] == "gw-1"
    assert on_host(site, "gw-1", f"ls {FOLDER} 2>/dev/null || true") == "", "nothing half-written is visible"
    on_host(site, "gw-1", "while pgrep -f store-rela[y] >/dev/null; do pkill -f store-rela[y]; sleep 0.2; done")
    [again] = pushing.json("push", "llm/pushed")["models"]
    assert sorted(again["hosts"]) == HOSTS
    assert again["origin_bytes"] == 0
    assert again["hosts"]["gw-1"] < again["bytes"] - BIG // 16, "what it had was not sent again"


# Memory


@pytest.fixture
def locking(pushing: Pushing) -> Iterator[Pushing]:
    (pushing.inventory / "group_vars/all/locking.yml").write_text(yaml.safe_dump({"model_store": {"lock_gib": 1}}))
    ready = steelyard("apply", "-i", str(pushing.inventory), "--deploy", "store", "--yes", "-q")
    assert ready.returncode == 0, ready.stderr
    yield pushing
    on_host(
        pushing.site,
        "gw-1",
        (
            "systemctl stop 'steelyard-hold@*'; rm -rf /run/steelyard/held "
            "/etc/systemd/system/steelyard-hold@.service; systemctl daemon-reload"
        ),
    )


def test_versions_are_locked_within_a_budget_and_the_one_not_asked_for_longest_goes(locking: Pushing) -> None:
    site = locking.site
    locking.json("push", "llm/pushed")
    for version, seed in (("v2", 200), ("v3", 300)):
        locking.declare(version, seed)
        locking.json("push", "llm/pushed")
    budget = str(2 * BIG + (4 << 20))

    def held() -> list[str]:
        units = on_host(
            site, "gw-1", "systemctl list-units --plain --no-legend 'steelyard-hold@*' | awk '{print $1}'"
        ).split()
        return [unit.rsplit("-", 1)[1].removesuffix(".service") for unit in units]

    def warm(version: str, lock: str = budget) -> dict[str, object]:
        return helper(site, "gw-1", "store-warm", f"{FOLDER}/{version}", "60", "--lock", lock)

    assert warm("v1")["why_not"] is None
    assert warm("v2")["why_not"] is None
    locked = int(
        on_host(
            site,
            "gw-1",
            "grep VmLck /proc/$(systemctl show -p MainPID --value 'steelyard-hold@models-llm-pushed-v1')/status",
        ).split()[1]
    )
    assert locked * 1024 >= BIG
    warm("v1")  # asked for again: v2 is the older one now
    assert (warm("v3")["why_not"], held()) == (None, ["v1", "v3"])
    assert "the budget is 1000" in str(warm("v2", "1000")["why_not"])
    # what is locked stays, whoever empties the cache
    forget = f"import os; h=os.open('{FOLDER}/v3/model.safetensors',0); os.posix_fadvise(h,0,0,4)"
    on_host(site, "gw-1", f'python3 -c "{forget}"')
    assert warm("v3")["resident_before"] >= BIG  # type: ignore[operator]
    assert helper(site, "gw-1", "store-replaced", f"{FOLDER}/v3") == {"gone": [f"{FOLDER}/v1"]}
    assert held() == ["v3"]


def test_declared_versions_are_warmed_before_they_are_needed(pushing: Pushing) -> None:
    pushing.json("push", "llm/pushed")
    for host in pushing.json("warm", "llm/pushed")["hosts"]:
        assert host["warm"]["resident"] >= 0.98 * host["warm"]["bytes"]


# What engines make


def test_compiled_artefacts_are_kept_under_their_key_and_used_by_an_empty_service(site: Site) -> None:
    """A file stands for what the engine compiles: this lab's service runs without compiling. `make bench-load` does it
    for real.
    """
    cache, made = "/var/cache/steelyard/tiny/vllm", "torch_compile_cache/torch_aot_compile/abc/model"
    on_host(
        site,
        "gpu-1",
        (
            f"mkdir -p {cache}/{Path(made).parent}; head -c 3000000 /dev/urandom > {cache}/{made}; chown -R "
            f"steelyard_tiny: {cache}"
        ),
    )
    wanted = on_host(site, "gpu-1", f"sha256sum < {cache}/{made}")
    before = on_host(site, "gpu-1", "systemctl show -p MainPID --value steelyard-vllm@tiny")
    done = steelyard("models", "cache", "-i", str(site.inventory), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = json.loads(done.stdout)["services"]
    assert (row["host"], row["origin"], row["error"]) == ("gpu-1", "gpu-1", None)
    assert {"vllm-0.32.0+cpu", "torch-2.13.0+cpu"} <= {*row["parts"]["packages"]}
    assert before == on_host(site, "gpu-1", "systemctl show -p MainPID --value steelyard-vllm@tiny"), (
        "nothing was restarted"
    )
    on_host(site, "gpu-1", f"rm -rf {cache}/torch_compile_cache")
    words = (
        "compiled-use",
        "/models",
        "tiny",
        "/opt/steelyard/engines/vllm-0.32.0",
        "/models/llm/tiny/v1",
        "steelyard_tiny",
    )
    assert helper(site, "gpu-1", *words)["used"] == row["key"]
    assert on_host(site, "gpu-1", f"sha256sum < {cache}/{made}; stat -c %U {cache}/{made}").split() == [
        *wanted.split(),
        "steelyard_tiny",
    ]
    # another engine option is another key: what is kept is refused
    on_host(
        site,
        "gpu-1",
        (
            "cp -p /etc/steelyard/services/tiny.yaml /tmp/tiny.yaml; echo 'max-num-seqs: 3' >> "
            "/etc/steelyard/services/tiny.yaml"
        ),
    )
    refused = helper(site, "gpu-1", *words)
    assert (refused["used"], refused["why"]) == (None, "what is kept was compiled from something else")
    on_host(
        site,
        "gpu-1",
        (
            "cp -p /tmp/tiny.yaml /etc/steelyard/services/tiny.yaml; echo 'safetensors-load-strategy: "
            "prefetch' >> /etc/steelyard/services/tiny.yaml"
        ),
    )
    assert helper(site, "gpu-1", *words)["used"] == row["key"], "how weights are read is no part of it"
    on_host(
        site,
        "gpu-1",
        (
            f"cp -p /tmp/tiny.yaml /etc/steelyard/services/tiny.yaml; rm -rf /models/_compiled "
            f"/models/.steelyard/*/_compiled* {cache}/torch_compile_cache "
            f"/var/cache/steelyard/tiny/.steelyard-key"
        ),
    )
    assert site.changed("plan") == {}


@dear(1, 2, "STEELYARD_STORE")
def test_what_was_measured_of_loading_is_used_at_the_next_start_and_is_no_reason_for_one(site: Site) -> None:
    done = steelyard("bench", "load", "-i", str(site.inventory), "--repeats", "1", "--ways", "prefetch-8", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    [host] = json.loads(done.stdout)["hosts"]
    assert (host["engine"], host["device"], host["failed"]) == ("0.32.0", "cpu", {})
    measured = {(row["strategy"], row["cache"]) for row in host["samples"]}
    assert measured == {(way, cache) for way in ("default", "prefetch-8") for cache in ("cold", "warm")}
    assert site.changed("plan") == {}, "single ways are no verdict, and nothing is kept of them"
    engine = "/opt/steelyard/engines/vllm-0.32.0"
    chosen = {"options": {"safetensors_load_strategy": "prefetch"}, "strategy": "prefetch-8"}
    found = json.dumps({"bytes": 1, "warm": chosen, "cold": chosen})
    on_host(site, "gpu-1", f"python3 -I {HELPER} load-record {engine} '{found}'")
    pid = on_host(site, "gpu-1", "systemctl show -p MainPID --value steelyard-vllm@tiny")
    assert site.changed("plan") == {"gpu-1": ["vllm.write-the-engine-s-config"]}
    site.changed("apply", "--yes")
    assert "safetensors-load-strategy: prefetch" in on_host(site, "gpu-1", "cat /etc/steelyard/services/tiny.yaml")
    assert site.changed("plan") == {}
    assert pid == on_host(site, "gpu-1", "systemctl show -p MainPID --value steelyard-vllm@tiny")
    on_host(site, "gpu-1", "rm /var/lib/steelyard/load.json")
    site.changed("apply", "--yes")


@dear(0, 3, "STEELYARD_STORE")
def test_a_version_sharded_for_its_engine_serves_the_same_tokens(site: Site, tmp_path: Path) -> None:
    inventory = site.copy(tmp_path)
    models = inventory / "group_vars/all/models.yml"
    found = yaml.safe_load(models.read_text())
    found["models"]["llm/tiny"]["serve"]["load_strategy"] = "sharded"
    before = ask(site, "/v1/chat/completions", chat(max_tokens=16), site.secrets["demo_client_key"])[1]["choices"][0][
        "message"
    ]
    models.write_text(yaml.safe_dump(found))
    refused = steelyard("apply", "-i", str(inventory), "--yes", "-l", "gpu-1")
    assert refused.returncode == 3
    assert re.search(r"is not there; `steelyard models shard -i \S+ -l gpu-1 llm/tiny` makes it", refused.stderr), (
        refused.stderr
    )
    done = steelyard("models", "shard", "-i", str(inventory), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = json.loads(done.stdout)["services"]
    assert (row["host"], row["origin"], row["parts"]["ranks"]) == ("gpu-1", "gpu-1", 1)
    applied = steelyard("apply", "-i", str(inventory), "--yes")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert Site(site.lab, inventory).changed("plan") == {}
    folder = f"/models/_sharded/llm/tiny/{row['key']}"
    assert on_host(site, "gpu-1", f"stat -c '%a %U' {folder}/model-rank-0-part-0.safetensors").strip() == "444 root"
    pid = on_host(site, "gpu-1", "systemctl show -p MainPID --value steelyard-vllm@tiny").strip()
    assert folder in on_host(site, "gpu-1", f"cat /proc/{pid}/mountinfo")
    after = ask(site, "/v1/chat/completions", chat(max_tokens=16), site.secrets["demo_client_key"])[1]["choices"][0][
        "message"
    ]
    assert after["content"] == before["content"]
    back = steelyard("apply", "-i", str(site.inventory), "--yes", "--prune")
    assert back.returncode == 0, back.stdout + back.stderr
    on_host(site, "gpu-1", "rm -rf /models/_sharded /models/.steelyard/*/_sharded*")
    assert site.changed("plan") == {}
