"""`steelyard models` on real hosts over real SSH: one source read, three stores whole; rot found and mended from a
neighbour.
"""

from __future__ import annotations

import json
import random
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.lab_site import ROOT, SCHEMA, Site, on_host, steelyard

MANIFEST = json.loads((ROOT / "docs/reference/schemas/manifest.schema.json").read_text())
HOSTS = ["gpu-1", "gw-1", "mirror-1"]
FOLDER = "/models/llm/pushed"
BIG = 24 << 20


class Pushing:
    """The lab's inventory with one more model, stored everywhere and served nowhere."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder, self.inventory = site, folder, site.copy(folder)
        self.models = self.inventory / "group_vars/all/models.yml"
        self.before = yaml.safe_load(self.models.read_text())

    def declare(self, version: str, seed: int) -> Path:
        """A version of eight tensors, of which the last has other bytes for another seed."""
        source = self.folder / f"source-{version}"
        source.mkdir()
        each = BIG // 8
        header = {
            f"t{number}": {"dtype": "U8", "shape": [each], "data_offsets": [number * each, number * each + each]}
            for number in range(8)
        }
        text = json.dumps(header).encode()
        bodies = [random.Random(number if number < 7 else seed).randbytes(each) for number in range(8)]
        (source / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(bodies))
        (source / "config.json").write_text("{}")
        model = {"source": f"file://{source}", "version": version, "hosts": "all"}
        self.models.write_text(
            yaml.safe_dump({**self.before, "models": {**self.before["models"], "llm/pushed": model}})
        )
        return source

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = steelyard("models", *words, "-i", str(self.inventory))
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        done = self.run(*words, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        jsonschema.validate(found, SCHEMA)
        return found


@pytest.fixture
def pushing(site: Site, tmp_path: Path) -> Iterator[Pushing]:
    pushing = Pushing(site, tmp_path)
    pushing.declare("v1", seed=100)
    ready = steelyard("apply", "-i", str(pushing.inventory), "--deploy", "store", "--yes", "-q")
    assert ready.returncode == 0, ready.stderr
    yield pushing
    for host in HOSTS:
        on_host(site, host, f"rm -rf {FOLDER} /models/.steelyard/*/llm%2Fpushed@*")


def test_a_push_reads_the_source_once_and_leaves_nothing_behind(pushing: Pushing) -> None:
    source = pushing.folder / "source-v1"
    [pushed] = pushing.json("push", "llm/pushed")["models"]
    assert sorted(pushed["hosts"]) == HOSTS
    assert pushed["origin_bytes"] == pushed["bytes"]
    wanted = subprocess.run(["sha256sum", source / "model.safetensors"], capture_output=True, text=True).stdout.split()[
        0
    ]
    for host in HOSTS:
        assert on_host(pushing.site, host, f"sha256sum {FOLDER}/v1/model.safetensors").split()[0] == wanted
        assert on_host(pushing.site, host, f"stat -c '%a %U' {FOLDER}/v1/model.safetensors").strip() == "444 root"
        assert on_host(pushing.site, host, "pgrep -f store-rela[y] || true") == "", "no daemon of ours"
        assert (
            on_host(
                pushing.site, host, "grep -rl 'PRIVATE KEY' /models/.steelyard /run/steelyard /tmp 2>/dev/null || true"
            )
            == ""
        )
        manifest = json.loads(on_host(pushing.site, host, f"cat /models/.steelyard/manifests/{pushed['id']}.json"))
        jsonschema.validate(manifest, MANIFEST)
    assert pushing.json("push", "llm/pushed")["models"][0]["origin_bytes"] == 0
    # what was pushed is in place for apply, which then has the link to set and nothing to send
    plan = steelyard("plan", "-i", str(pushing.inventory), "--deploy", "models", "--json")
    codes = {task["code"] for host in json.loads(plan.stdout)["hosts"] for task in host["tasks"]}
    assert codes == {"model_store.switch-current-to-the-version"}
    # an update sends the tensor that changed
    pushing.declare("v2", seed=200)
    [update] = pushing.json("push", "llm/pushed")["models"]
    assert sorted(update["hosts"]) == HOSTS
    assert max(update["hosts"].values()) <= BIG // 8 + (1 << 16)
    rows = {
        (host["host"], row["version"]): row for host in pushing.json("ls")["hosts"] for row in host["store"]["versions"]
    }
    assert all(rows[host, version]["altered"] == [] for host in HOSTS for version in ("v1", "v2"))
    # v1 is no longer declared: the newest of those is kept unless told otherwise
    assert not any("llm/pushed@v1" in host["removed"] for host in pushing.json("gc", "--yes")["hosts"])
    holder = f"setsid sh -c 'exec 3<{FOLDER}/v1/model.safetensors; sleep 60' >/dev/null 2>&1 & sleep 0.2"
    on_host(pushing.site, "gw-1", holder)
    done = {host["host"]: host for host in pushing.json("gc", "--keep", "0", "--yes")["hosts"]}
    assert ["llm/pushed@v1" in done[host]["removed"] for host in HOSTS] == [True, False, True]
    on_host(pushing.site, "gw-1", "pkill sleep || true")
    refused = pushing.json("rm", "llm/pushed", "v2", "--yes", "-l", "gw-1", code=1)
    assert refused["error"] == "ModelDeclared"


def test_an_apply_to_several_hosts_has_them_take_it_from_each_other(pushing: Pushing) -> None:
    done = steelyard("apply", "-i", str(pushing.inventory), "--deploy", "models", "--yes")
    assert done.returncode == 0, done.stderr
    listed = pushing.json("ls")["hosts"]
    rows = {host["host"]: row for host in listed for row in host["store"]["versions"] if row["project"] == "llm/pushed"}
    assert sorted(rows) == HOSTS
    assert all(row["current"] and not row["altered"] for row in rows.values())
    assert not any("pushed" in name for host in listed for name in host["store"]["staging"])
    again = steelyard("plan", "-i", str(pushing.inventory), "--deploy", "models")
    assert again.returncode == 0, again.stdout


def test_rot_is_named_taken_out_of_sight_and_mended_from_a_neighbour(pushing: Pushing) -> None:
    pushing.json("push", "llm/pushed")
    path = f"{FOLDER}/v1/model.safetensors"
    on_host(
        pushing.site,
        "gw-1",
        f"t=$(stat -c %y {path}); chmod 644 {path}; printf rot | dd of={path} bs=1 seek=9000000 "
        f"conv=notrunc status=none;"
        f' touch -d "$t" {path}; chmod 444 {path}',
    )
    found = pushing.json("verify", "llm/pushed", code=2)
    wrong = {row["host"]: row["verified"]["wrong"] for row in found["hosts"]}
    assert [wrong[host] for host in ("gpu-1", "mirror-1")] == [{}, {}]
    assert len(wrong["gw-1"]["model.safetensors"]) == 1
    said = pushing.run("verify", "llm/pushed")
    assert "gw-1: llm/pushed: model.safetensors: 1 chunk not as published" in said.stdout
    assert re.search(r"fix: `steelyard models verify -i \S+ --repair`", said.stdout)
    [repaired] = pushing.json("verify", "llm/pushed", "--repair")["repaired"]
    assert (repaired["origin_bytes"], 0 < repaired["hosts"]["gw-1"] <= 1 << 16) == (0, True)
    assert pushing.json("verify", "llm/pushed")["hosts"]
    # without its source on this machine it is mended too: a neighbour has it whole
    (pushing.folder / "source-v1").rename(pushing.folder / "elsewhere")
    on_host(pushing.site, "gw-1", f"rm -f {path}")
    mended = pushing.run("verify", "llm/pushed", "--repair")
    assert (mended.returncode, "its source is not on this machine; " in mended.stderr) == (0, True), mended.stderr
    assert (
        on_host(pushing.site, "gw-1", f"sha256sum {path}").split()[0]
        == on_host(pushing.site, "gpu-1", f"sha256sum {path}").split()[0]
    )


def test_what_stands_in_the_way_is_one_sentence_per_host_and_the_others_are_served(pushing: Pushing) -> None:
    on_host(pushing.site, "gw-1", "mkdir -p /mnt/small /models && mount -t tmpfs -o size=8m tmpfs /models")
    on_host(pushing.site, "mirror-1", "mv /usr/lib/steelyard/blake3.so /root/blake3.so")
    try:
        found = pushing.json("push", "llm/pushed", code=3)
        why = {error["where"]: error["sentence"] for error in found["errors"]}
        assert sorted(why) == ["gw-1", "mirror-1"]
        assert "GiB free; make room, nothing was copied" in why["gw-1"]
        assert re.search(r"blake3\.so is not there; `steelyard apply -i \S+` installs it", why["mirror-1"])
        assert list(found["models"][0]["hosts"]) == ["gpu-1"]
    finally:
        on_host(pushing.site, "gw-1", "umount /models")
        on_host(pushing.site, "mirror-1", "mv /root/blake3.so /usr/lib/steelyard/blake3.so")
    unknown = pushing.run("push", "llm/pusht")
    assert unknown.returncode == 1
    assert "there is no model `llm/pusht`" in unknown.stderr and "did you mean `llm/pushed`" in unknown.stderr


def test_what_has_no_room_is_refused_before_anything_is_touched(site: Site, tmp_path: Path) -> None:
    inventory = site.copy(tmp_path)
    models = inventory / "group_vars/all/models.yml"

    def told(*words: str) -> tuple[int, dict[str, Any]]:
        done = steelyard("models", "fit", "-i", str(inventory), "--json", *words)
        found = json.loads(done.stdout)
        jsonschema.validate(found, SCHEMA)
        return done.returncode, found

    code, found = told()
    [row] = found["services"]
    assert (code, row["host"], row["verdict"], row["gpus_needed"]) == (0, "gpu-1", "fits", 1)
    assert row["room"]["weights_bytes"] > 0 and row["room"]["request_bytes"] > 0
    before = on_host(site, "gpu-1", "systemctl show -p MainPID,ActiveEnterTimestamp --value steelyard-vllm@tiny")
    declared = yaml.safe_load(models.read_text())
    declared["models"]["llm/tiny"]["serve"]["tensor_parallel_size"] = 64
    models.write_text(yaml.safe_dump(declared))
    code, found = told()
    [row] = found["services"]
    assert (code, row["verdict"]) == (2, "no")
    assert "it asks for 64 GPUs, and the host has" in row["why"]
    refused = steelyard("apply", "-i", str(inventory), "--yes", "-l", "gpu-1")
    assert (refused.returncode, "it asks for 64 GPUs" in refused.stderr) == (3, True), refused.stderr
    assert (
        on_host(site, "gpu-1", "systemctl show -p MainPID,ActiveEnterTimestamp --value steelyard-vllm@tiny") == before
    )
    code, found = told("--gpu-gib", "8", "--gpus", "64")  # enough of them, and its heads are fewer
    assert (code, "heads do not divide over 64 GPUs" in found["services"][0]["why"]) == (2, True)
    assert site.changed("plan") == {}
