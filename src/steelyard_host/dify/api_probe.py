"""The API of a staged release, started on a rehearsal's database and asked what a browser asks first.

Nothing of the copy knows a password. So a login of an account that there is not is tried: its refusal has come through
the tables that every login reads.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from typing import NamedTuple

from steelyard_host.dify.contents import Contents
from steelyard_host.dify.migration import DatabaseTarget
from steelyard_host.dify.stack import DifyError, run
from steelyard_host.system.http_body import body_of

PORT = 5001
ASK_S = 30
LOOK_S = 1.0
MOST_S = 300.0
NOBODY = {
    "email": "nobody@steelyard.invalid",
    "password": base64.b64encode(b"steelyard-0").decode(),
    "language": "en-US",
    "remember_me": False,
}


class _Answer(NamedTuple):
    status: int
    body: bytes


def answered(target: DatabaseTarget, held: Contents, seconds: float) -> str:
    """The words of the API on the copy. Raises DifyError where it does not come up, or says that it is not set up."""
    name = target.stack.project + "-probe"
    run(["docker", "rm", "--force", name], False)
    quiet = ("-e", "MODE=api", "-e", "MIGRATION_ENABLED=false", "-e", "MAIL_TYPE=")
    options = ("--detach", "--name", name, "--no-deps", "--quiet-pull", "-T", *target.options, *quiet)
    try:
        target.stack.compose("run", *options, "api")
        setup = _first_answer(target, name, min(seconds, MOST_S))
        step = _step(setup)
        if held.rows.get("accounts") and step != "finished":
            raise DifyError("Dify %s takes the copy for one that nobody has set up yet" % target.stack.version())
        login = _ask(target, name, "POST", "/console/api/login", json.dumps(NOBODY))
        if login is None or login.status >= 500:
            status = "nothing" if login is None else login.status
            raise DifyError("Dify %s answers a login on the copy with %s" % (target.stack.version(), status))
    finally:
        run(["docker", "rm", "--force", name], False)
    return "its API says `%s` and refuses a login that there is not with %d" % (step, login.status)


def _step(answer: _Answer) -> str:
    try:
        return str(json.loads(answer.body)["step"])
    except (ValueError, KeyError, TypeError):
        return "nothing"


def _first_answer(target: DatabaseTarget, name: str, seconds: float) -> _Answer:
    """The answer to the first question of a browser. Raises DifyError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = _ask(target, name, "GET", "/console/api/setup")
        if answer is not None and answer.status == 200:
            return answer
        if time.monotonic() > end:
            said = run(["docker", "logs", "--tail", "1", name], False)
            line = (said.stderr or said.stdout).strip()[-200:]
            why = "the API of Dify %s does not answer on the copy after %d s: %s"
            raise DifyError(why % (target.stack.version(), seconds, line or "it says nothing"))
        time.sleep(LOOK_S)


def _ask(target: DatabaseTarget, name: str, method: str, path: str, body: str | None = None) -> _Answer | None:
    """One answer; None where there is none."""
    address = target.stack.address(name)
    if address is None:
        return None
    connection = http.client.HTTPConnection(address, PORT, timeout=ASK_S)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return _Answer(answer.status, body_of(answer))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
