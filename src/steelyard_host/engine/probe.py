"""Ready means a generated token, not a 200: asks the engine over its unix socket until it gives one."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from pathlib import Path

from steelyard_host import paths
from steelyard_host.system.http_body import body_of

KEYS = Path(paths.KEYS)


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("engine", timeout=seconds)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def headers(service: str) -> dict[str, str]:
    """Headers of a request to a service's engine; with its key where a release that gave engines one started it, whose
    file is removed when it is started anew. `NAME--surge` has that of NAME.
    """
    try:
        key = (KEYS / service.split("--")[0]).read_text().strip()
    except OSError:
        return {"Content-Type": "application/json"}
    return {"Content-Type": "application/json", "Authorization": "Bearer " + key}


def one_token(path: str, service: str, seconds: float = 60) -> tuple[bool, str]:
    """Whether the engine behind the socket `path` generates a token, and else why not."""
    body = json.dumps({"model": service, "prompt": "1", "max_tokens": 1, "temperature": 0})
    try:
        connection = SocketConnection(path, seconds)
        connection.request("POST", "/v1/completions", body, headers(service))
        answer = connection.getresponse()
        content = json.loads(body_of(answer, seconds))
        if answer.status == 200 and content["usage"]["completion_tokens"] >= 1:
            return True, "ready"
        return False, "%s %s" % (answer.status, str(content)[:200])
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        return False, repr(error)


def wait(path: str, service: str, seconds: float) -> int:
    """Exit code 0 when a token was generated, 1 when the engine ended, refused for good, or time ran out."""
    end, why = time.monotonic() + seconds, "not tried"
    while time.monotonic() < end:
        main = os.environ.get("MAINPID")
        if main and not _alive(int(main)):
            print("engine exited before it was ready: %s" % why)
            return 1
        gives, why = one_token(path, service)
        if gives:
            print(why)
            return 0
        if why[:3] in ("401", "404"):
            break
        time.sleep(0.25)
    print("not ready: %s" % why)
    return 1


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
