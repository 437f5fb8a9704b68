"""What a client sees: answers of a real vLLM through the gateway's alias, and refusals in the API's own shape."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.lab_site import Site, on_host, steelyard

from steelyard.serving.service_keys import service_key


def ask(
    site: Site,
    path: str,
    body: dict[str, Any] | None = None,
    key: str | None = None,
    host: str = "gw-1",
    port: int = 8080,
    patience: float = 120,
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(site.address(host), port, timeout=patience)
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    connection.request(
        "POST" if body is not None else "GET", path, json.dumps(body) if body is not None else None, headers
    )
    answer = connection.getresponse()
    content = answer.read()
    try:
        return answer.status, json.loads(content)
    except ValueError:
        return answer.status, content.decode()


def chat(model: str = "tiny", **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 8,
        "temperature": 0,
        **more,
    }


def test_chat_completion_comes_through_the_alias(site: Site) -> None:
    status, answer = ask(site, "/v1/chat/completions", chat(), site.secrets["demo_client_key"])
    assert status == 200
    assert answer["model"] == "tiny"
    assert answer["usage"]["completion_tokens"] == 8
    assert set(answer["choices"][0]["message"]["content"]) <= set("abcdefghijklmnopqrstuvwxyz ")


def test_aliases_are_listed(site: Site) -> None:
    status, answer = ask(site, "/v1/models", key=site.secrets["demo_client_key"])
    assert (status, [model["id"] for model in answer["data"]]) == (200, ["tiny"])


@pytest.mark.parametrize("key", [None, "wrong", "engine_key"])
def test_only_clients_keys_open_the_gateway(site: Site, key: str | None) -> None:
    shown = site.secrets["engine_key"] if key == "engine_key" else key
    status, answer = ask(site, "/v1/chat/completions", chat(), shown)
    assert (status, answer["error"]["message"].split(":")[0]) == (401, "invalid api key")


def test_the_sites_own_key_opens_no_service(site: Site) -> None:
    """It is what the keys of services are made of, and goes to no host."""
    keys = {"site": site.secrets["engine_key"], "tiny": service_key(site.secrets["engine_key"], "tiny")}
    codes = {name: ask(site, "/v1/completions", chat(), key, "gpu-1", 8000)[0] for name, key in keys.items()}
    assert codes["site"] == 401
    assert codes["tiny"] != 401
    everywhere = "grep -rlF -e '{}' /etc /run/steelyard* /var/lib/steelyard 2>/dev/null || true"
    assert site.sh("gpu-1", everywhere.format(keys["site"])) == ""
    assert site.sh("gpu-1", everywhere.format(keys["tiny"])) == ""
    assert site.sh("gw-1", everywhere.format(keys["site"])) == ""
    assert site.sh("gw-1", everywhere.format(keys["tiny"])).split() == ["/etc/haproxy/steelyard-engine.map"]


def test_unknown_alias_is_a_404_in_the_apis_shape(site: Site) -> None:
    status, answer = ask(site, "/v1/chat/completions", chat('no"pe'), site.secrets["demo_client_key"])
    assert (status, answer["error"]["type"]) == (404, "NotFoundError")


@pytest.mark.parametrize(
    "path", ["/pause", "/collective_rpc", "/v1/../pause", "/%70ause", "//pause", "/sleep", "/server_info"]
)
def test_control_routes_are_not_reachable_from_the_network(site: Site, path: str) -> None:
    key = service_key(site.secrets["engine_key"], "tiny")
    assert ask(site, path, {}, key, host="gpu-1", port=8000)[0] == 404
    # what begins as a path of the API does is asked for its model first
    refusal = 400 if path.startswith("/v1/") else 404
    assert ask(site, path, {}, site.secrets["demo_client_key"])[0] == refusal


def test_engine_asks_for_its_key_behind_the_front(site: Site) -> None:
    assert ask(site, "/v1/chat/completions", chat(), host="gpu-1", port=8000)[0] == 401


def test_gateways_admin_socket_is_not_open_to_the_network(site: Site) -> None:
    listening = site.sh("gw-1", "ss -Hltn | awk '{print $4}'").split()
    ports = {entry.rsplit(":", 1)[1] for entry in listening}
    assert ports == {"22", "8080", "8090"}
    assert site.sh("gw-1", "stat -c '%a %U:%G' /run/haproxy/admin.sock").strip() == "660 root:haproxy"


def exposure(site: Site, unit: str) -> float:
    """systemd's own mark of a unit's sandbox; 0 is closed."""
    score = site.sh("gpu-1", f"systemd-analyze security --no-pager {unit} | tail -1")
    return float(score.split(": ")[1].split()[0])


def test_service_has_a_gpu_of_its_own_and_no_other_device(site: Site) -> None:
    [host] = [host for host in site.json("status", "-l", "gpu-1")["hosts"] if host["host"] == "gpu-1"]
    first = host["status"]["gpus"]["devices"][0]["uuid"]
    pid = site.sh("gpu-1", "systemctl show steelyard-vllm@tiny -p MainPID --value").strip()
    seen = site.sh("gpu-1", f"tr '\\0' '\\n' </proc/{pid}/environ | grep ^CUDA_")
    assert seen.split() == [f"CUDA_VISIBLE_DEVICES={first}", "CUDA_DEVICE_ORDER=PCI_BUS_ID"]
    assert site.sh("gpu-1", "systemctl show steelyard-vllm@tiny -p DevicePolicy --value").strip() == "closed"
    assert "char-nvidia*" in site.sh("gpu-1", "systemctl show steelyard-vllm@tiny -p DeviceAllow --value")


def test_gpus_can_be_named_and_a_name_that_is_none_is_refused(site: Site, tmp_path: Path) -> None:
    [host] = [host for host in site.json("status", "-l", "gpu-1")["hosts"] if host["host"] == "gpu-1"]
    uuids = [device["uuid"] for device in host["status"]["gpus"]["devices"]]
    inventory = site.copy(tmp_path)
    roles = inventory / "group_vars/all/roles.yml"
    text = roles.read_text()

    def name_gpu(uuid: str) -> None:
        assert text.count("vllm:\n") == 1
        roles.write_text(text.replace("vllm:\n", f"vllm:\n  gpus: {{tiny: [{uuid}]}}\n"))

    name_gpu("GPU-of-nobody")
    refused = steelyard("apply", "-i", str(inventory), "--yes", "-l", "gpu-1")
    assert refused.returncode == 3, refused.stdout
    assert f"tiny: the host has no GPU GPU-of-nobody; it has {', '.join(uuids)}" in refused.stderr
    test_service_has_a_gpu_of_its_own_and_no_other_device(site)
    assert site.changed("plan") == {}  # it was refused before anything was touched
    name_gpu(uuids[1])
    assert "vllm.give-the-service-its-gpus" in Site(site.lab, inventory).changed("plan")["gpu-1"]


def test_starts_are_recorded_by_phase(site: Site) -> None:
    [host] = [host for host in site.json("status", "-l", "gpu-1")["hosts"] if host["host"] == "gpu-1"]
    [service] = host["status"]["services"]
    start = service["start"]
    assert (start["version"], start["engine"]) == (service["mounted"], "vllm-0.32.0")
    names = [entry["phase"] for entry in start["phases"]]
    assert names == ["import", "weights", "profile", "warm_up", "server", "first_token"]
    assert sum(entry["seconds"] for entry in start["phases"]) == pytest.approx(start["seconds"], abs=0.1)
    assert start["said"]["cache_tokens"] > 0
    assert "STARTED IN" in steelyard("status", "-i", str(site.inventory), "-v").stdout


def test_engine_has_no_network_and_a_hardened_unit(site: Site) -> None:
    assert exposure(site, "steelyard-vllm@tiny") <= 1.3  # its GPUs' device nodes are there to be opened
    bare = "cp /etc/systemd/system/steelyard-vllm@.service /tmp/bare.service"
    site.sh("gpu-1", bare)
    assert exposure(site, "--offline=yes /tmp/bare.service") <= 1.0
    pid = site.sh("gpu-1", "systemctl show steelyard-vllm@tiny -p MainPID --value").strip()
    assert site.sh("gpu-1", f"nsenter -n -t {pid} ip -br addr").split()[0] == "lo"
    assert site.sh("gpu-1", f"stat -c %U /proc/{pid}").strip() == "steelyard_tiny"
    assert site.sh("gpu-1", "stat -c '%a %U:%G' /etc/steelyard/services/tiny.env").strip() == "640 root:steelyard_tiny"


def test_killed_engine_is_drift_at_the_gateway_and_comes_back_by_itself(site: Site) -> None:
    site.sh("gpu-1", "systemctl kill -s KILL steelyard-vllm@tiny && sleep 11")
    drift = site.json("drift")
    findings = {finding["subject"]: finding for finding in (*drift["findings"], *drift["consequences"])}
    assert findings["alias-tiny/gpu-1"]["live"].startswith("DOWN")
    assert findings["alias-tiny/gpu-1"]["declared"] == "UP"
    site.sh(
        "gpu-1", "for n in $(seq 240); do systemctl is-active -q steelyard-vllm@tiny && exit 0; sleep 1; done; exit 1"
    )
    test_chat_completion_comes_through_the_alias_after_a_check(site)


def test_what_an_engine_has_accepted_and_not_counted_yet_is_waited_for(site: Site) -> None:
    """Its core stands still, as in a long step: it counts nothing that runs, and the front has a request open on it."""
    asked_of_front = (
        "PYTHONPATH=/usr/lib/steelyard/steelyard-host.pyz python3 -c '"
        "from steelyard_host.engine.service import HostService; from steelyard_host.proxy import front; "
        'tiny = HostService.load("tiny"); '
        "{}'"
    )
    open_requests = asked_of_front.format("print(front.running(tiny))")
    core = "$(pgrep VLLM::EngineCor)"
    with ThreadPoolExecutor(1) as client:
        on_host(site, "gpu-1", f"kill -STOP {core}")
        try:
            asked = client.submit(ask, site, "/v1/chat/completions", chat(), site.secrets["demo_client_key"])
            end = time.monotonic() + 60
            while on_host(site, "gpu-1", open_requests).strip() == "0":
                assert time.monotonic() < end, "no request comes to the host"
            said = on_host(site, "gpu-1", "python3 -I /usr/lib/steelyard/steelyard-host.pyz drain tiny 2")
        finally:
            on_host(site, "gpu-1", f"kill -CONT {core}; " + asked_of_front.format("front.back(tiny)"))
        assert said.strip() == "requests were left after 2 s"
        status, answer = asked.result()
    assert (status, answer["usage"]["completion_tokens"]) == (200, 8)


def test_chat_completion_comes_through_the_alias_after_a_check(site: Site) -> None:
    site.sh(
        "gw-1",
        "for n in $(seq 30); do python3 -I /usr/lib/steelyard/steelyard-host.pyz haproxy /run/haproxy/admin.sock "
        "| grep -q 'gpu-1\": \"UP' && exit 0; sleep 1; done; exit 1",
    )
    test_chat_completion_comes_through_the_alias(site)


def test_status_shows_hosts_gpus_services_and_what_is_mounted(site: Site) -> None:
    hosts = {host["host"]: host for host in site.json("status")["hosts"]}
    assert sorted(hosts) == ["gpu-1", "gw-1", "mirror-1"]
    gpus = hosts["gpu-1"]["status"]["gpus"]
    assert [device["name"] for device in gpus["devices"]] == ["simulated GPU NVIDIA H100 80GB HBM3"] * 2
    [service] = hosts["gpu-1"]["status"]["services"]
    assert (service["state"], service["mounted"]) == ("active", "/models/llm/tiny/v1")
    assert service["requests"]["request_success_total"] > 0
    text = steelyard("status", "-i", str(site.inventory), "-v").stdout
    assert "simulated GPU" in text


def test_model_is_listed_in_dify(site: Site) -> None:
    done = steelyard("dify", "ls", "-i", str(site.inventory), "--json")
    [model] = json.loads(done.stdout)["models"]
    assert (model["model"], model["model_type"], model["status"]) == ("tiny", "llm", "active")


def test_gpu_that_is_lost_is_shown_and_the_others_still_are(site: Site) -> None:
    """The fault is in the scenario file of the simulated GPUs; NVML's own words reach the table."""
    site.sh("gpu-1", "echo fault=lost:1 >> /usr/lib/steelyard-lab/gpus.conf")
    hosts = {host["host"]: host for host in site.json("status")["hosts"]}
    site.sh("gpu-1", "sed -i /^fault/d /usr/lib/steelyard-lab/gpus.conf")
    first, second = hosts["gpu-1"]["status"]["gpus"]["devices"]
    assert first["name"].startswith("simulated GPU")
    assert "lost" in second["error"].lower()


def test_engine_that_lives_and_generates_nothing_is_killed_and_its_requests_are_answered(
    site: Site, tmp_path: Path
) -> None:
    inventory = site.copy(tmp_path)
    roles = inventory / "group_vars/all/roles.yml"
    roles.write_text(roles.read_text().replace("vllm:\n", "vllm:\n  watch_s: 2\n  hung_s: 30\n", 1))
    impatient = Site(site.lab, inventory)
    assert set(impatient.changed("apply", "--yes", "-l", "gpu-1")["gpu-1"]) == {
        "vllm.write-the-unit-of-the-watch",
        "vllm.write-the-timer-of-the-watch",
        "vllm.load-the-unit-of-the-watch",
    }
    before = site.sh("gpu-1", "systemctl show steelyard-vllm@tiny -p MainPID --value").strip()
    on_host(site, "gpu-1", "kill -STOP $(pgrep VLLM::EngineCor)")
    # it hangs with the engine, is sent again when that one is killed, and waits for the next one
    assert ask(site, "/v1/chat/completions", chat(), site.secrets["demo_client_key"], patience=300)[0] == 200
    assert site.sh("gpu-1", "systemctl show steelyard-vllm@tiny -p MainPID --value").strip() != before
    [host] = [host for host in site.json("status", "-l", "gpu-1")["hosts"] if host["host"] == "gpu-1"]
    [kill] = host["status"]["services"][0]["killed"]
    assert kill["why"].startswith("no token for ")
    [finding] = [found for found in site.json("drift")["findings"] if found["code"] == "vllm.stays-up"]
    assert "the watch killed it 1 times today" in finding["live"]
    on_host(site, "gpu-1", "rm /var/lib/steelyard/watch/tiny.json")
    assert steelyard("apply", "-i", str(site.inventory), "--yes", "--prune", "-l", "gpu-1").returncode == 0
    test_chat_completion_comes_through_the_alias_after_a_check(site)
