"""Keys change under load: of engines, by one apply and host by host; of clients, with an overlap; and Dify's."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from support.dear import dear
from support.hands_site import GPUS, PROJECT, HandsSite, count
from support.lab_site import steelyard

from steelyard.dirs import cache_folder
from steelyard.lab.load import LoadGenerator
from steelyard.serving.service_keys import service_key

HOLD_S = 5  # of the gateway: an engine's key of before ends that much, and 10 s, after it is shown no more
PLACES = "/etc /opt/steelyard-lab /var/lib /var/log /run /tmp /root /home /usr/lib/steelyard /models"
ENGINE_MAP = "/etc/haproxy/steelyard-engine.map"
DIFY_FILES = {"/opt/steelyard-lab/dify-admin", "/var/lib/private/lab-dify/state.json"}


def fresh(name: str) -> str:
    """A key with letters that JSON writes otherwise."""
    return f'sk-"{name}"-{secrets.token_hex(12)}'


def made_of(site_key: str) -> tuple[str, ...]:
    """The engines' key with those of the services that are made of it."""
    return site_key, service_key(site_key, "pair"), service_key(site_key, "solo")


def poll(is_so: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.3)
    return True


def asked(address: str, port: int, key: str | None, alias: str = "pair") -> tuple[int, Any]:
    """Status and document of one request; of the gateway, or of a front."""
    connection = http.client.HTTPConnection(address, port, timeout=60)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    body = json.dumps({"model": alias, "prompt": "hello", "max_tokens": 2})
    connection.request("POST", "/v1/completions", body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@contextmanager
def settled(hands: HandsSite) -> Iterator[None]:
    """The site's own keys at the end, and nothing of ours left."""
    try:
        yield
    finally:
        hands.roles(vllm=None, gateway=None)
        hands.apply()
        assert hands.changed("plan") == {}


def declare(hands: HandsSite, engine: str | None = None, **clients: Any) -> None:
    """Declare another engine key, and other clients than the lab's own."""
    known = {name: hands.secrets[f"{name}_client_key"] for name in ("dify", "demo")}
    gateway = {"port": 8080, "hold_s": HOLD_S, "clients": {**known, **clients}}
    hands.roles(vllm={"api_key": engine or hands.secrets["engine_key"]}, gateway=gateway)


@contextmanager
def registered(hands: HandsSite, alias: str) -> Iterator[None]:
    """The alias is one of Dify's models."""
    text = hands.models_path.read_text()
    declared = yaml.safe_load(text)
    declared["models"][PROJECT.format(alias)]["dify"] = {"type": "llm"}
    hands.models_path.write_text(yaml.safe_dump(declared))
    hands.apply()
    try:
        yield
    finally:
        hands.models_path.write_text(text)


def engines(hands: HandsSite) -> dict[str, str]:
    """The processes of all engines."""
    show = "systemctl show -p MainPID --value 'steelyard-llamacpp@*.service'"
    return {host: hands.sh(host, show) for host in GPUS}


def whole(load: LoadGenerator, **figures: int) -> None:
    count(**figures, failed_requests=load.counts.failed + load.counts.mixed)
    assert load.counts.requests > 20
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons


def assert_hidden(hands: HandsSite, said: str, *keys: str) -> None:
    """No key in anything that was said, on this machine, in a host's logs and command lines; and on hosts only in
    files for root and HAProxy. Nor encoded. The search itself shows none: its patterns are octal numbers.
    """
    texts = {form for key in keys for form in (key, json.dumps(key)[1:-1], base64.b64encode(key.encode()).decode())}
    assert [text for text in texts if text in said] == []
    kept = [path for path in cache_folder().rglob("*") if path.is_file()]
    assert [path for path in kept if any(text.encode() in path.read_bytes() for text in texts)] == []
    octal = "".join(f"\\{letter:03o}" for letter in "\n".join(sorted(texts)).encode())
    patterns = f"printf {shlex.quote(octal)}"
    for host in ("gw-1", *GPUS):
        listed = f"{patterns} | grep -rlsaFf - --exclude-dir=journal {PLACES} | sort -u"
        files = set(hands.sh(host, listed, check=False).split())
        assert files <= ({ENGINE_MAP, *DIFY_FILES} if host == "gw-1" else set()), (host, files)
        for path in files:
            assert hands.sh(host, f"stat -c %a {path}").strip()[-1] == "0", path
        lines = (
            "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; journalctl --no-pager -o cat"
        )
        assert (
            hands.sh(host, f"{{ {lines}; }} | {{ {patterns} > /run/p; grep -caFf /run/p; rm /run/p; }}", check=False)
            == "0\n"
        )


@dear(1, 4, "STEELYARD_HANDS")
def test_engine_key_rotates_twice_in_a_row_by_one_apply_each(hands: HandsSite) -> None:
    first, second = fresh("one"), fresh("two")
    before, said = engines(hands), ""
    with settled(hands):
        with hands.load("pair") as load:
            for key in (first, second):
                declare(hands, key)
                said += hands.apply("-v")
        whole(load, rotations=2)
        assert engines(hands) == before, "an engine was started anew"
        assert hands.changed("plan") == {}
        for host in ("gpu-1", "gpu-2"):
            assert asked(hands.address(host), 8010, service_key(second, "pair"))[0] == 200
            for stranger in (None, "sk-nobody", second, service_key(second, "solo")):
                status, document = asked(hands.address(host), 8010, stranger)
                assert (status, document["error"]["code"]) == (401, 401)
            front = hands.address(host)
            assert poll(lambda front=front: asked(front, 8010, service_key(first, "pair"))[0] == 401, HOLD_S + 30), (
                "it never ends"
            )
        assert_hidden(hands, said, *(key for site_key in (first, second) for key in made_of(site_key)))


@dear(0, 4, "STEELYARD_HANDS")
def test_engine_key_rotates_host_by_host_and_the_gateway_waits_for_all(hands: HandsSite) -> None:
    key, old = fresh("by-host"), hands.secrets["engine_key"]
    with settled(hands):
        with hands.load("pair") as load:
            declare(hands, key)
            assert "the gateway (gw-1) is not part of -l gpu-1" in hands.apply("-l", "gpu-1")
            early = steelyard("apply", "-i", str(hands.inventory), "--yes", "-l", "gw-1")
            assert early.returncode != 0
            said = " ".join((early.stdout + early.stderr).split())
            assert f"the front at {hands.address('gpu-2')}:8010 does not accept the declared key yet" in said
            assert "gpu-2, gpu-3 are not part of -l gw-1" in said
            hands.apply("-l", "gpu-2:gpu-3")
            hands.apply("-l", "gw-1")
            unended = {"gateway.let-the-key-of-before-end"}
            found = hands.json("drift")["findings"]
            assert {(entry["host"], entry["code"]) for entry in found} == {(host, *unended) for host in GPUS}
            assert asked(hands.address("gpu-1"), 8010, service_key(old, "pair"))[0] == 200
            hands.apply()
        whole(load, rotations=1)
        assert poll(lambda: asked(hands.address("gpu-1"), 8010, service_key(old, "pair"))[0] == 401, HOLD_S + 30)
        assert_hidden(hands, early.stdout + early.stderr, *made_of(key))


@dear(3, 4, "STEELYARD_HANDS")
def test_client_has_two_keys_until_the_first_one_ends(hands: HandsSite) -> None:
    demo, new, door = hands.secrets["demo_client_key"], fresh("demo"), hands.address("gw-1")
    with settled(hands):
        until = datetime.now(UTC) + timedelta(days=3)
        declare(hands, demo={"keys": [{"key": demo, "until": until.isoformat()}, {"key": new}]})
        with hands.load("pair") as load:
            said = hands.apply("-v")
            assert [asked(door, 8080, key)[0] for key in (demo, new)] == [200, 200]
            load.where = (door, 8080, new, "pair")  # from here on
            soon = datetime.now(UTC) + timedelta(seconds=60)
            declare(hands, demo={"keys": [{"key": demo, "until": soon.isoformat()}, {"key": new}]})
            plan = steelyard("plan", "-i", str(hands.inventory), "-v")
            assert f"client demo: the one before is valid until {soon:%Y-%m-%d %H:%M} UTC" in plan.stdout + plan.stderr
            said += hands.apply("-v")
            # HAProxy's own clock, without another apply
            assert poll(lambda: asked(door, 8080, demo)[0] == 401, 90)
        whole(load, rotations=1)
        assert datetime.now(UTC) >= soon - timedelta(seconds=1)
        status, document = asked(door, 8080, demo)
        assert (status, document["error"]["code"]) == (401, 401)
        assert f"of client demo ended at {soon:%Y-%m-%dT%H:%M:%SZ}" in document["error"]["message"]
        assert asked(door, 8080, new)[0] == 200
        [finding] = hands.json("drift")["findings"]
        told = (finding["code"], finding["subject"], finding["severity"])
        assert told == ("gateway.client-key", "keys of client demo", "warning")
        assert_hidden(hands, said + plan.stdout + json.dumps(finding), new)


@dear(2, 4, "STEELYARD_HANDS")
def test_key_of_dify_follows_and_never_goes_before_dify_has_the_next(hands: HandsSite) -> None:
    dify, new, door = hands.secrets["dify_client_key"], fresh("dify"), hands.address("gw-1")
    both = [{"key": dify, "until": "2999-12-31"}, {"key": new}]
    with settled(hands), registered(hands, "solo"):
        declare(hands, dify=new)
        refused = steelyard("apply", "-i", str(hands.inventory), "--yes")
        assert refused.returncode != 0
        said = " ".join((refused.stdout + refused.stderr).split())
        assert "client dify is Dify's, which learns of its new key after this gateway" in said
        assert asked(door, 8080, dify)[0] == 200
        try:
            declare(hands, dify={"keys": both})
            with hands.load("pair") as load:
                said = hands.apply("-v")
            whole(load, rotations=1)
            kept = hands.sh("gw-1", "cat /var/lib/private/lab-dify/state.json")
            assert json.dumps(new)[1:-1] in kept, "Dify has another key"
            declare(hands, dify=new)
            hands.apply()
            assert (asked(door, 8080, dify)[0], asked(door, 8080, new)[0]) == (401, 200)
            assert_hidden(hands, said, new)
        finally:  # the same way back
            declare(hands, dify={"keys": [{"key": new, "until": "2999-12-31"}, {"key": dify}]})
            hands.apply()
