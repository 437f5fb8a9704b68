"""Logins to Dify: no refused password is sent twice, whatever runs; what else goes wrong is told for what it is."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from dify_world import PASSWORD, World, a_world, served
from fix_case import printed, run

from steelyard.dify.account import Administrator, set_up
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.refused_logins import RefusedLogins
from steelyard.errors import (
    DifyAccountLocked,
    DifyAdminKeyRefused,
    DifyLoginRefused,
    DifyPasswordRefusedBefore,
    DifyUnreachable,
    Exit,
    SteelyardError,
)

EMAIL, WRONG = "admin@lab.example", "wrong-passw0rd"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def a_run(world: World, password: str = PASSWORD) -> type[SteelyardError] | None:
    """One run of steelyard: the class of what stops it."""
    try:
        DifyClient(DifyAccess(world.url, EMAIL, password)).get("/account/profile")
    except SteelyardError as error:
        assert password not in str(error) + error.remedy + json.dumps(error.as_json())
        return type(error)
    return None


def sent(world: World) -> int:
    return len([line for line in world.requests if line.endswith("/login")])


def test_a_pipeline_with_a_wrong_password_does_not_lock_the_account_of_a_human(world: World) -> None:
    assert [a_run(world, WRONG) for _ in range(9)] == [DifyLoginRefused] + [DifyPasswordRefusedBefore] * 8
    assert sent(world) == 1
    assert a_run(world) is None


def test_it_says_when_it_was_refused_and_how_it_is_sent_again(world: World) -> None:
    a_run(world, WRONG)
    with pytest.raises(
        DifyPasswordRefusedBefore, match=r"was refused at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    ) as caught:
        DifyClient(DifyAccess(world.url, EMAIL, WRONG)).get("/account/profile")
    assert "`steelyard dify login`" in caught.value.remedy


def test_another_password_is_sent_at_once_and_a_right_one_forgets_the_wrong(world: World) -> None:
    assert a_run(world, WRONG) is DifyLoginRefused
    assert a_run(world, WRONG + "2") is DifyLoginRefused
    assert a_run(world, WRONG + "2") is DifyPasswordRefusedBefore
    assert a_run(world) is None
    assert a_run(world, WRONG + "2") is DifyLoginRefused


def test_a_record_is_of_one_address_and_one_account(world: World) -> None:
    a_run(world, WRONG)
    logins = RefusedLogins()
    assert logins.refused_at(world.url, EMAIL, WRONG) is not None
    assert logins.refused_at(world.url, EMAIL.upper(), WRONG) is not None  # Dify takes it for the same account
    assert logins.refused_at(world.url, "other@lab.example", WRONG) is None
    assert logins.refused_at("http://other", EMAIL, WRONG) is None
    assert logins.refused_at(world.url, EMAIL, PASSWORD) is None


def inventory(world: World, folder: Path, password: str) -> Path:
    variables = folder / "site" / "group_vars" / "dify"
    variables.mkdir(parents=True, exist_ok=True)
    (folder / "site" / "hosts.yml").write_text("dify: {hosts: {dify-1: {ansible_connection: local}}}\n")
    section = {"url": world.url, "email": EMAIL, "password": password}
    (variables / "dify.yml").write_text(json.dumps({"dify": section}))
    return folder / "site"


def test_a_password_that_is_right_by_now_is_sent_by_the_command_that_the_fix_names(
    world: World, tmp_path: Path
) -> None:
    site = inventory(world, tmp_path, WRONG)
    first, second = (run(["steelyard", "dify", "ls", "-i", str(site), "--json"]) for _ in range(2))
    errors = [json.loads(done.stdout)["error"] for done in (first, second)]
    assert errors == ["DifyLoginRefused", "DifyPasswordRefusedBefore"]
    assert WRONG not in first.stdout + first.stderr + second.stdout + second.stderr
    fix = printed(DifyPasswordRefusedBefore(**DifyPasswordRefusedBefore.sample), "steelyard")
    refused = run([*fix, "-i", str(site)])
    assert (refused.returncode, sent(world)) == (Exit.HOST_FAILED, 2)
    world.console.state["admin"]["password"] = WRONG  # a human gave the account the password that is declared
    taken = run([*fix, "-i", str(site), "--json"])
    assert taken.returncode == Exit.DONE, taken.stderr
    document = json.loads(taken.stdout)
    assert (document["email"], document["workspaces"]) == (EMAIL, ["admin's Workspace"])
    assert a_run(world, WRONG) is None


def test_a_locked_account_is_told_as_one_and_not_as_a_wrong_password(world: World) -> None:
    for number in range(6):
        a_run(world, f"{WRONG}{number}")
    with pytest.raises(DifyAccountLocked, match="refuses the right one too") as caught:
        DifyClient(DifyAccess(world.url, EMAIL, PASSWORD)).get("/account/profile")
    assert "put the right" not in caught.value.remedy
    assert "flask reset-password" in caught.value.remedy
    world.console.state["tries"].clear()
    assert a_run(world) is None  # it was not remembered as a wrong one


def test_runs_at_once_send_one_try_together(world: World) -> None:
    ends: list[type[SteelyardError] | None] = []
    threads = [threading.Thread(target=lambda: ends.append(a_run(world, WRONG))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(end.__name__ for end in ends if end) == ["DifyLoginRefused"] + ["DifyPasswordRefusedBefore"] * 7
    assert sent(world) == 1


def test_no_password_lies_in_the_records(world: World, tmp_path: Path) -> None:
    a_run(world, WRONG)
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in files} == {0o700}
    content = b"".join(path.read_bytes() for path in files)
    assert len(files) == 3  # the key, the record, the lock
    assert not [word for word in (WRONG.encode(), base64.b64encode(WRONG.encode())) if word in content]


@pytest.mark.parametrize("harm", ["key", "record", "no folder"])
def test_records_that_are_harmed_cost_one_try_and_stop_nobody(world: World, tmp_path: Path, harm: str) -> None:
    a_run(world, WRONG)
    folder = tmp_path / "state/steelyard/dify-logins"
    if harm == "no folder":
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        folder.write_text("")
        assert (a_run(world, WRONG), a_run(world)) == (DifyLoginRefused, None)
        return
    path = folder / "key" if harm == "key" else next(folder.glob("*.json"))
    path.write_text("[1")
    assert (a_run(world, WRONG), a_run(world, WRONG)) == (DifyLoginRefused, DifyPasswordRefusedBefore)


@contextmanager
def answering(status: int, content: bytes) -> Iterator[str]:
    """A server that answers every POST so, and says that it is Dify 1.16.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.say(200, b'{"version": "1.16.1"}') if "version" in self.path else self.say(status, content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.say(status, content)

        def say(self, code: int, text: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server, url = served(Handler)
    yield url
    server.shutdown()


def code(word: str) -> bytes:
    return json.dumps({"code": word, "message": "words of Dify's", "status": 400}).encode()


@pytest.mark.parametrize(
    ("status", "content", "told", "remembered"),
    [
        (401, code("authentication_failed"), DifyLoginRefused, True),
        (400, code("email_or_password_mismatch"), DifyLoginRefused, True),
        (400, code("account_banned"), DifyLoginRefused, False),
        (429, code("email_code_login_limit"), DifyAccountLocked, False),
        (429, b"<html>slow down</html>", DifyUnreachable, False),
        (401, b"<html>who are you</html>", DifyUnreachable, False),
        (502, b"<html>bad gateway</html>", DifyUnreachable, False),
        (500, code("unknown"), DifyUnreachable, False),
        (404, b"", DifyUnreachable, False),
    ],
)
def test_only_what_dify_counts_as_a_wrong_password_is_remembered(
    status: int, content: bytes, told: type[SteelyardError], remembered: bool
) -> None:
    with answering(status, content) as url, pytest.raises(told):
        DifyClient(DifyAccess(url, EMAIL, WRONG)).get("/account/profile")
    assert (RefusedLogins().refused_at(url, EMAIL, WRONG) is not None) == remembered


def test_a_dify_that_is_down_refuses_nothing() -> None:
    with pytest.raises(DifyUnreachable):
        DifyClient(DifyAccess("http://127.0.0.1:9", EMAIL, WRONG)).get("/account/profile")
    assert RefusedLogins().refused_at("http://127.0.0.1:9", EMAIL, WRONG) is None


def test_a_refused_admin_key_is_told_as_one(world: World) -> None:
    with answering(401, b'{"code": "unauthorized", "message": "Invalid token.", "status": 401}') as url:
        access = DifyAccess(url, "", "", "god-key-1", "3f0c6a52")
        with pytest.raises(DifyAdminKeyRefused, match=r'for workspace `3f0c6a52` \("Invalid token\."\)') as caught:
            DifyClient(access).get("/workspaces")
    assert "ADMIN_API_KEY_ENABLE" in caught.value.remedy
    assert "god-key-1" not in str(caught.value) + caught.value.remedy


def test_a_fresh_dify_at_the_same_address_is_another_one(world: World) -> None:
    """An account that was not there is refused as a wrong password is; then it is made with that password."""
    world.console.state["admin"] = None
    assert a_run(world) is DifyLoginRefused
    access = DifyAccess(world.url, EMAIL, PASSWORD)
    set_up(DifyClient(access), Administrator(EMAIL, "admin", PASSWORD))
    assert a_run(world) is None
