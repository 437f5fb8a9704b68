"""The endpoint as its clients see it: shared by two hosts, with TLS, limits and affinity; the engines behind it are
real but where said.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support.certificate import self_signed
from support.gateway_pair import gateway_pair, holders, shared_address
from support.lab_site import ROOT, Site, on_host, steelyard

from steelyard.api.template import render
from steelyard.lab.load import LoadGenerator
from steelyard.roles.gateway.answers import GatewayAnswers, gateway_errors
from steelyard.roles.gateway.config import backends
from steelyard.roles.gateway.settings import Settings
from steelyard.serving.key_ends import NEVER
from steelyard.site.schema import Serve
from steelyard.site.site import Service


@pytest.fixture(scope="module")
def pair(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway_pair(site, site.copy(tmp_path_factory.mktemp("pair"))) as made:
        yield made


def ask(pair: Site, client: str, tls: ssl.SSLContext | None = None) -> tuple[int, str | None, Any]:
    where = shared_address(pair), 8080
    connection = http.client.HTTPSConnection(*where, context=tls) if tls else http.client.HTTPConnection(*where)
    headers = {"Authorization": f"Bearer {pair.secrets[client]}", "Content-Type": "application/json"}
    connection.request(
        "POST", "/v1/completions", json.dumps({"model": "tiny", "prompt": "a", "max_tokens": 3}), headers
    )
    answer = connection.getresponse()
    return answer.status, answer.getheader("X-Steelyard-Version"), json.loads(answer.read())


def test_one_gateway_dies_and_the_other_takes_the_address(pair: Site) -> None:
    """Stopped under load: what runs on it is cut, what comes is refused until keepalived sees it, and then the other
    one answers.
    """
    [first] = holders(pair)
    other = {"gw-1": "mirror-1", "mirror-1": "gw-1"}[first]
    with LoadGenerator(shared_address(pair), 8080, pair.secrets["demo_client_key"], "tiny", {}, clients=3) as load:
        time.sleep(2)
        on_host(pair, first, "systemctl stop haproxy")
        end = time.monotonic() + 15
        while holders(pair) != [other] and time.monotonic() < end:
            time.sleep(0.1)
        served_before = load.counts.requests
        time.sleep(4)
        after = load.counts.requests - served_before
    assert holders(pair) == [other]
    assert after > 5, "nobody is answered by the other one"
    # what clients may see of a host that dies: a cut, or nobody there until the address has moved; never an answer that
    # is wrong
    cut = ("Refused", "Reset", "Remote", "Incomplete", "a stream was cut", "No route", "unreachable")
    assert all(any(word in reason for word in cut) for reason in load.counts.reasons), load.counts.reasons
    print(json.dumps(load.figures()))
    on_host(pair, first, "systemctl start haproxy")


def test_answers_say_their_version_and_the_log_says_who_got_how_much(pair: Site) -> None:
    assert ask(pair, "demo_client_key")[:2] == (200, "v1")
    [holder] = holders(pair)
    log = on_host(pair, holder, "sleep 0.5; journalctl -t haproxy -o cat --no-pager | grep alias=tiny | tail -1")
    for said in ("client=demo ", "alias=tiny ", "version=v1 ", "srv=gpu-1 ", "tokens_out=3 ", "st=200 "):
        assert said in log
    assert pair.secrets["demo_client_key"] not in log


def test_a_client_over_its_limit_is_told_so_and_others_are_not(pair: Site) -> None:
    statuses = [ask(pair, "dify_client_key")[0] for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    [holder] = holders(pair)
    on_host(pair, holder, "systemctl reload haproxy && sleep 1")
    assert ask(pair, "dify_client_key")[0] == 429, "a reload forgot what the client had asked for"
    assert ask(pair, "dify_client_key")[2]["error"]["type"] == "rate_limit_error"
    assert ask(pair, "demo_client_key")[0] == 200


def test_weights_survive_a_reload_and_one_that_nobody_declared_is_found(pair: Site) -> None:
    pyz, socket = "python3 -I /usr/lib/steelyard/steelyard-host.pyz", "/run/haproxy/admin.sock"
    on_host(pair, "gw-1", f"{pyz} haproxy-weigh {socket} alias-tiny/gpu-1=7 && systemctl reload haproxy && sleep 1")
    assert json.loads(on_host(pair, "gw-1", f"{pyz} haproxy {socket}"))["weights"]["alias-tiny/gpu-1"] == 7
    assert pair.changed("plan", "--deploy", "serve") == {"gw-1": ["gateway.set-the-services-weights"]}
    assert pair.changed("apply", "--yes", "--deploy", "serve") == {"gw-1": ["gateway.set-the-services-weights"]}


def test_tls_with_a_certificate_of_the_vault_that_ends_soon(pair: Site) -> None:
    roles = pair.inventory / "group_vars/all/roles.yml"
    text, pem = roles.read_text(), "".join(self_signed("gateway"))
    block = "".join(f"    {line}\n" for line in pem.splitlines())
    roles.write_text(text.replace("gateway:\n", f"gateway:\n  tls_pem: |\n{block}", 1))
    try:
        done = steelyard("apply", "-i", str(pair.inventory), "--yes", "--deploy", "serve")
        assert done.returncode == 0, done.stdout + done.stderr
        trusted = ssl.create_default_context(cadata=pem.split("-----BEGIN PRIVATE")[0])
        trusted.check_hostname = False
        assert ask(pair, "demo_client_key", trusted)[0] == 200
        codes = {finding["code"] for finding in pair.json("drift", "--deploy", "serve")["findings"]}
        assert codes == {"gateway.certificate"}
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        assert on_host(pair, "gw-1", "stat -c '%a %U' /etc/haproxy/steelyard.pem").split() == ["600", "root"]
    finally:
        roles.write_text(text)
        assert steelyard("apply", "-i", str(pair.inventory), "--yes", "--deploy", "serve").returncode == 0


ENGINE = """
import http.server, json, sys
class Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"who": sys.argv[1], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
        self.send_response(200); self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Engine).serve_forever()
"""


def balanced(site: Site, affinity: str, weights: dict[str, int], asked: list[dict[str, Any]]) -> list[str]:
    """Which of three engines, which are simulated, gets each request from the role's own configuration in a real
    HAProxy.
    """
    ports = {"a": 9101, "b": 9102, "c": 9103}
    serve = Serve(hosts="gpu", affinity=affinity, weights=weights)  # type: ignore[arg-type]
    services = tuple(
        Service("x", "m", "v1", name, "127.0.0.1", "x", serve.model_copy(update={"port": port}))
        for name, port in ports.items()
    )
    values = {
        "wanted": Settings(port=18080, hold_s=0, check_s=1),
        "folder": "/tmp/balanced",
        "socket": "/tmp/balanced/admin.sock",
        "again": "/tmp/balanced/again.sock",
        "with_key": False,
        "errors": gateway_errors(0),
        "answers": GatewayAnswers.of(32),
        "never": NEVER,
        "backends": backends({"x": services}),
        "name": "gw-1",
        "gateways": [],
        "stamp": "test",
    }
    config = render(ROOT / "roles/gateway/templates/haproxy.cfg.j2", **values)
    client = (
        "import sys, json, time, urllib.request\nfor body in json.loads(sys.argv[1]):\n request = "
        "urllib.request.Request('http://127.0.0.1:18080/v1/completions', json.dumps(body).encode(), "
        "{'Authorization': 'Bearer k', 'Content-Type': 'application/json'})\n "
        "print(json.load(urllib.request.urlopen(request))['who'])\n time.sleep(0.05)"
    )
    key = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"  # SHA-256 of `k`
    files = {
        "haproxy.cfg": config,
        "engine.py": ENGINE,
        "client.py": client,
        "steelyard-keys.map": f"{key} one\n",
        "steelyard-ends.map": "",
        "steelyard-alias.map": "x alias-x\n",
        "steelyard-models.map": "list {}\n",
        "steelyard-engine.map": "engine none\n",
    }
    writes = "; ".join(f"cat > /tmp/balanced/{name} <<'END'\n{text}\nEND\n" for name, text in files.items()).replace(
        "END\n;", "END\n"
    )
    started = " ".join(
        f'python3 /tmp/balanced/engine.py {port} >/dev/null 2>&1 & pids="$pids $!"; ' for port in ports.values()
    )
    asks = json.dumps([{"model": "x", **body} for body in asked])
    # UP at its start until it is checked: so a check of each has to have come first
    waited = (
        "sleep 3; python3 -I /usr/lib/steelyard/steelyard-host.pyz haproxy-wait /tmp/balanced/admin.sock 60 "
        + " ".join(f"alias-x/{name}" for name in ports)
    )
    script = (
        f"mkdir -p /tmp/balanced\n{writes}\n{started}\nhaproxy -D -p /tmp/balanced/pid -f "
        f"/tmp/balanced/haproxy.cfg\n{waited}\n"
        f"python3 /tmp/balanced/client.py '{asks}'\nkill $(cat /tmp/balanced/pid); kill $pids; rm -rf /tmp/balanced"
    )
    return [word for word in on_host(site, "gw-1", script).split() if word.isdigit()]


def strayed(got: list[str], kinds: int) -> int:
    """Requests that went elsewhere than most of their kind: every `kinds`-th is of one."""
    return sum(len(kind) - max(Counter(kind).values()) for kind in (got[start::kinds] for start in range(kinds)))


def test_conversations_stay_where_they_were_begun_and_sessions_too(site: Site) -> None:
    """But for one that comes while the last is not quite gone: then its engine has its share of the two already. Chance
    strays ten.
    """
    talks = [
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": f"talk {n % 8}"}]}
        for n in range(24)
    ]
    got = balanced(site, "prefix", {}, talks)
    assert strayed(got, 8) <= 2, got
    assert len(set(got)) > 1, "eight conversations are all with one engine"
    users = [{"prompt": str(n), "user": f"user {n % 6}"} for n in range(18)]
    got = balanced(site, "session", {}, users)
    assert strayed(got, 6) <= 2, got


def test_weights_share_the_requests_out(site: Site) -> None:
    got = Counter(balanced(site, "none", {"a": 5, "b": 95, "c": 95}, [{"prompt": str(n)} for n in range(100)]))
    assert got["9101"] <= 12 < 25 < min(got["9102"], got["9103"]), got
