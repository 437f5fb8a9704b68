"""A line of the gateway's log says what it says, whatever a client writes as its model: by a real HAProxy."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from support.gateway_config import gateway_config
from support.real_parsers import haproxy

from steelyard.roles.gateway.settings import Settings
from steelyard.site.schema import Serve
from steelyard.site.site import Service

MODELS = [
    "a\nclient=admin alias=forged-line be=x",
    "x version=v9 be=alias-tiny srv=gpu-1 st=200",
    "\x1b[2J::error::x",
    "größe" * 100,
    "x" * 5000,
]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A gateway of one alias that nothing serves, which writes its log to its standard output."""
    program, environment = haproxy()
    service = Service("tiny", "llm/x", "v1", "g1", "127.0.0.1", "tiny", Serve(hosts="all", port=free_port()))
    path, port = (
        gateway_config(tmp_path, {"tiny": (service,)}, Settings(clients={"team": "sk-team"}), ["g1"]),
        free_port(),
    )
    lines = path.read_text().replace("bind :8080", f"bind 127.0.0.1:{port}").splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith("log /dev/log"):
            lines[number] = "    log stdout format raw local0"
        elif line.strip().startswith(("stats socket", "server-state-file", "load-server-state", "localpeer", "peer ")):
            lines[number] = ""
        elif line.strip().startswith("stick-table"):
            lines[number] = line.replace(" peers steelyard", "")
        elif line.startswith("peers "):
            lines[number] = ""
    path.write_text("\n".join(lines) + "\n")
    command = [program, "-db", "-f", str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as proxy:
        try:
            yield port, proxy
        finally:
            proxy.terminate()


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_one_word_of_one_line(gateway: tuple[int, subprocess.Popen[str]], model: str) -> None:
    port, proxy = gateway
    body = json.dumps({"model": model}, ensure_ascii=False).encode()
    headers = {"Authorization": "Bearer sk-team", "Content-Type": "application/json"}
    while True:
        assert proxy.poll() is None, "it ended"
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", "/v1/completions", body, headers)
            answer = connection.getresponse()
            break
        except ConnectionRefusedError:
            continue  # it is starting
    assert answer.status == 404
    said = json.loads(answer.read())
    assert said["error"]["code"] == 404
    connection.close()
    assert proxy.stdout is not None
    line = next(line for line in proxy.stdout if line.startswith("client="))
    words = line.split()
    assert [word.split("=")[0] for word in words] == [
        *("client", "alias", "version", "be", "srv", "tokens_in", "tokens_out"),
        *("st", "tsc", "tq", "tc", "tr", "ta", "rc", "in", "out"),
    ]
    assert words[0] == "client=team"
    assert words[7] == "st=404"
    assert len(words[1]) <= len("alias=") + 127
