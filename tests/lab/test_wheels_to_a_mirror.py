"""Wheels to a bare mirror, and hosts that install from the declared lock and no other: real llama.cpp, from collect to
a request.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support import tiny_gguf
from support.lab_site import SCHEMA, Site, assert_no_trace_since, steelyard, traces

from steelyard.artifacts.wheel_sets import wheel_set
from steelyard.lab.nspawn.paths import cache_root
from steelyard.lab.nspawn.record import require_lab

NAME = "wheels"
SET = wheel_set("llamacpp")
PLACE = f"/srv/fresh/wheels/{SET.name}"  # not the folder that the lab has bound there
ENGINE = f"/opt/steelyard/engines/{SET.name}"
ELSEWHERE = "f" * 64


class Fresh(Site):
    """Three hosts that nothing was applied to, and an inventory with one llama.cpp service."""

    def wheels(self, *words: str) -> dict[str, Any]:
        """A command on wheels, and its document; nothing is fetched from outside, because the lab's cache has them."""
        offline = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(cache_root() / "wheels" / SET.name / "files")}
        done = steelyard("wheels", *words, "--json", **offline)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        jsonschema.validate(document, SCHEMA)
        return document

    def declare(self, **sections: Any) -> None:
        path = self.inventory / "group_vars/all/roles.yml"
        kept = path.read_text().split("# of the test\n")[0]
        path.write_text(kept + "# of the test\n" + yaml.safe_dump(sections))

    def apply(self) -> subprocess.CompletedProcess[str]:
        return steelyard("apply", "-i", str(self.inventory), "--yes")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fresh]:
    inventory, weights = tmp_path_factory.mktemp("fresh") / "inventory", tmp_path_factory.mktemp("gguf")
    steelyard("lab", "down", "--name", NAME)  # left by a run that was killed
    before = traces(NAME)
    up = steelyard("lab", "up", "3", "--name", NAME, "--inventory", str(inventory))
    assert up.returncode == 0, up.stderr
    tiny_gguf.make(weights / "v1", 1)
    serve = {"engine": "llamacpp", "hosts": "gpu-1", "port": 8010, "max_model_len": 256, "options": {"n_threads": 1}}
    model = {"source": f"file://{weights}/v1", "version": "v1", "alias": "small", "serve": serve}
    models = inventory / "group_vars/all/models.yml"
    models.write_text(yaml.safe_dump({"model_root": "/models", "models": {"gguf/small": model}}))
    yield Fresh(require_lab(NAME, NAME), inventory)
    assert steelyard("lab", "down", "--name", NAME).returncode == 0
    assert_no_trace_since(before, NAME)


def test_wheels_come_to_a_bare_mirror_and_hosts_refuse_another_lock(fresh: Fresh, tmp_path: Path) -> None:
    """From a plan that asks bare hosts, over a mirror with python3 only, to a refusal with both hashes, and to a
    service.
    """
    inventory = ("-i", str(fresh.inventory))
    fresh.declare(package_mirror={"wheels": "/srv/fresh/wheels"}, llamacpp={"lock_sha256": ELSEWHERE})
    [planned] = fresh.wheels("plan", *inventory)["sets"]
    assert (planned["set"], planned["hosts"]) == ("llamacpp", ["gpu-1"])
    assert planned["target"] == {"python": "3.11", "glibc": "2.36", "machine": "x86_64"}
    [collected] = fresh.wheels("collect", *inventory, "--into", str(tmp_path / "w"))["sets"]
    lock = collected["lock_sha256"]
    assert lock == planned["lock_sha256"]
    assert collected["declare"] == f"llamacpp: {{lock_sha256: {lock}}}"
    [verified] = fresh.wheels("verify", str(tmp_path / "w"))["sets"]
    assert (verified["lock_sha256"], verified["problems"]) == (lock, [])

    assert fresh.sh("mirror-1", "test -e /usr/lib/steelyard || echo bare") == "bare\n"
    [sent] = fresh.wheels("push", str(tmp_path / "w"), *inventory)["hosts"]
    assert (sent["folder"], sent["sent"], sent["bytes"], sent["lock_sha256"]) == (PLACE, 1, collected["bytes"], lock)
    [again] = fresh.wheels("push", str(tmp_path / "w"), *inventory)["hosts"]
    assert (again["sent"], again["bytes"]) == (0, 0)
    fresh.sh("mirror-1", f"truncate -s -1 {PLACE}/files/*.whl")
    [mended] = fresh.wheels("push", str(tmp_path / "w"), *inventory)["hosts"]
    assert (mended["sent"], mended["lock_sha256"]) == (1, lock)

    refused = fresh.apply()
    assert refused.returncode == 3, refused.stdout + refused.stderr
    for word in (lock, ELSEWHERE, "llamacpp.lock_sha256", "nothing is installed", "steelyard wheels push"):
        assert word in refused.stderr, refused.stderr
    assert fresh.sh("gpu-1", f"ls -d {ENGINE} /etc/systemd/system/steelyard-llamacpp@* 2>/dev/null", check=False) == ""
    plan = steelyard("plan", "-v", *inventory)
    assert plan.returncode == 2, plan.stdout + plan.stderr
    assert lock in plan.stdout
    assert ELSEWHERE in plan.stdout

    fresh.declare(package_mirror={"wheels": "/srv/fresh/wheels"}, llamacpp={"lock_sha256": lock})
    done = fresh.apply()
    assert done.returncode == 0, done.stdout + done.stderr
    assert fresh.sh("gpu-1", f"sha256sum < {ENGINE}/.steelyard-lock").split()[0] == lock
    assert fresh.sh("gpu-1", "systemctl is-active steelyard-llamacpp@small").strip() == "active"
    assert fresh.changed("plan") == {}
