"""Live checks of the gateway as a client sees it, from the controller: what drift asks beside the tasks."""

from __future__ import annotations

import json
from urllib.error import URLError
from urllib.request import Request, urlopen

from steelyard.checks import checking, report

ANSWER_S = 10


def check_aliases(address: str, port: int, key: str | None, aliases: tuple[str, ...]) -> None:
    """`/v1/models` lists exactly the declared aliases."""
    if not checking():
        return
    url = f"http://{address}:{port}/v1/models"
    fix = f"see that this machine reaches {address} port {port}, and `steelyard apply --deploy serve`"
    try:
        request = Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
        with urlopen(request, timeout=ANSWER_S) as answer:
            listed = sorted(str(model["id"]) for model in json.load(answer)["data"])
    except URLError as error:
        report("gateway.lists-the-aliases", url, "answers", str(error.reason)[:120], fix)
    except (OSError, ValueError, KeyError, TypeError) as error:
        report("gateway.lists-the-aliases", url, "answers", f"{type(error).__name__}"[:120], fix)
    else:
        if listed != sorted(aliases):
            report("gateway.lists-the-aliases", url, ", ".join(sorted(aliases)) or "none", ", ".join(listed) or "none", fix)
