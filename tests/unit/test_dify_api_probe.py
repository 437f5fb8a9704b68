"""The new API on a rehearsal's copy: it answers, knows that it is set up, and a login comes through to the tables."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from steelyard_host.dify import api_probe
from steelyard_host.dify.contents import Contents
from steelyard_host.dify.migration import DatabaseTarget
from steelyard_host.dify.stack import DifyError

HELD = Contents({"accounts": 2})


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """An API that answers `setup` and a login with what a test says, and the container that it is in."""
    said = SimpleNamespace(setup={"step": "finished"}, login=401, ran=[], removed=[], bodies=[])

    class Handler(http.server.BaseHTTPRequestHandler):
        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if body:
                said.bodies.append(json.loads(body))
            text = b"{}" if body else json.dumps(said.setup).encode()
            self.send_response(said.login if body else 200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = reply  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(api_probe, "PORT", server.server_port)
    monkeypatch.setattr(api_probe, "LOOK_S", 0.01)

    def run(argv: list[str], check: bool) -> Any:
        if argv[1] == "rm":
            said.removed.append(argv[-1])
        return SimpleNamespace(stdout="", stderr="sqlalchemy: no such table\n")

    monkeypatch.setattr(api_probe, "run", run)
    said.stack = SimpleNamespace(
        project="dify-rehearsal",
        version=lambda: "1.17.1",
        address=lambda name: "127.0.0.1" if name == "dify-rehearsal-probe" else None,
        compose=lambda *argv: said.ran.append(argv),
    )
    yield said
    server.shutdown()


def asked(api: SimpleNamespace, held: Contents = HELD) -> str:
    return api_probe.answered(DatabaseTarget(api.stack, "d", ("-e", "DB_DATABASE=d")), held, 0.1)


def test_a_release_that_answers_is_told_and_its_container_goes(api: SimpleNamespace) -> None:
    assert asked(api) == "its API says `finished` and refuses a login that there is not with 401"
    assert api.removed == ["dify-rehearsal-probe"] * 2
    (ran,) = api.ran
    assert {"--no-deps", "DB_DATABASE=d", "MAIL_TYPE=", "MIGRATION_ENABLED=false"} < set(ran)
    assert [body["email"] for body in api.bodies] == ["nobody@steelyard.invalid"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"login": 500}, "Dify 1.17.1 answers a login on the copy with 500"),
        ({"setup": {"step": "not_started"}}, "takes the copy for one that nobody has set up yet"),
        ({"setup": []}, "takes the copy for one that nobody has set up yet"),
    ],
)
def test_a_release_that_does_not_find_its_people_is_refused(
    api: SimpleNamespace, change: dict[str, Any], why: str
) -> None:
    vars(api).update(change)
    with pytest.raises(DifyError, match=why):
        asked(api)
    assert api.removed[-1] == "dify-rehearsal-probe"


def test_a_copy_without_people_is_set_up_by_nobody(api: SimpleNamespace) -> None:
    api.setup = {"step": "not_started"}
    assert "`not_started`" in asked(api, Contents({"accounts": 0}))


def test_an_api_that_does_not_come_up_is_told_with_its_last_words(api: SimpleNamespace) -> None:
    api.stack.address = lambda name: None
    with pytest.raises(DifyError, match=r"does not answer on the copy after 0 s: sqlalchemy: no such table"):
        asked(api)
