"""Answers with which the gateway refuses a request. Pure."""

from __future__ import annotations

from typing import NamedTuple

from steelyard.serving.refusals import HttpRefusal, error_lines, proxy_errors

SERVER_S = 900  # the template's `timeout server`
INVALID, LIMIT = "invalid_request_error", "rate_limit_error"


class GatewayAnswers(NamedTuple):
    """Words behind `http-request return`, by the reason."""

    no_key: str
    ended: str
    per_minute: str
    at_once: str
    too_large: str
    unsized: str
    late_model: str
    unnamed: str
    no_model: str
    not_let_in: str
    ended_over_it: str

    @classmethod
    def of(cls, body_mib: int) -> GatewayAnswers:
        """`body_mib`: the largest body that is let through, in MiB."""
        return cls(
            no_key=HttpRefusal(
                401, "invalid api key: no client has it; show one as `Authorization: Bearer KEY`", INVALID
            ).answer,
            ended=HttpRefusal(
                401,
                "this api key of client %[var(txn.client),json(utf8s)] ended at "
                "%[var(txn.until),utime(%Y-%m-%dT%H:%M:%SZ)]: take its next one",
                INVALID,
            ).answer,
            per_minute=HttpRefusal(429, "more than %[var(txn.per_minute)] requests in a minute", LIMIT, 10).answer,
            at_once=HttpRefusal(429, "more than %[var(txn.at_once)] requests at once", LIMIT, 1).answer,
            too_large=HttpRefusal(413, f"the body is larger than {body_mib} MiB", INVALID).answer,
            unsized=HttpRefusal(
                413, "a body of more than 1 MiB needs a `Content-Length`, which this one has not", INVALID
            ).answer,
            late_model=HttpRefusal(
                413, "the body is larger than the gateway reads and names no model in its first part", INVALID
            ).answer,
            unnamed=HttpRefusal(400, "the body has to be JSON that names its `model`", INVALID).answer,
            no_model=HttpRefusal(404, "the model %[var(txn.alias),json(utf8s)] does not exist", "NotFoundError").answer,
            not_let_in=HttpRefusal(
                502,
                "the service does not accept the key of this gateway: its operator runs `steelyard apply`",
                "server_error",
                5,
            ).answer,
            ended_over_it=HttpRefusal(
                502,
                "the services that were given this request ended before they answered: it may be what ends them",
                "server_error",
                told_not_to=True,
            ).answer,
        )


def gateway_errors(hold_s: int) -> list[str]:
    """Lines of the template's `defaults`: what HAProxy answers by itself."""
    waited = f" within {hold_s} s" if hold_s else ""
    unavailable = f"no service of the alias %[var(txn.alias),json(utf8s)] answered{waited}: ask again in a while"
    return error_lines(proxy_errors("gateway", "`journalctl -u haproxy`", unavailable, SERVER_S))
