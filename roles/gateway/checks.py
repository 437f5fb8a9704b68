"""Live checks of the gateway as a client sees it, from the controller: what drift asks beside the tasks."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.error import URLError
from urllib.request import Request, urlopen

from pyinfra.context import host

from steelyard.api import live_check
from steelyard.api.finding import Severity, thing
from steelyard.serving.key_ends import until
from steelyard.site.site import Service, backend_name
from steelyard_host import paths

from .clients import Clients

UNIT = "haproxy.service"
ANSWER_S = 10
SOON_DAYS = 30


def trusting(pem: str) -> ssl.SSLContext:
    """Return a context that trusts only a server with this very certificate; it need not name the address."""
    certificates = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    context = ssl.create_default_context(cadata="\n".join(certificates))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def server_needs(aliases: Mapping[str, tuple[Service, ...]]) -> dict[str, tuple[str, ...]]:
    """Things by `backend/server` that have to be well, here and on its host, for this gateway to see it UP."""
    needs = {}
    for alias, services in aliases.items():
        for service in services:
            subjects = ("", paths.PROXY_UNIT, service.unit, f"service {service.name}", f"token of {service.name}")
            theirs = (thing(service.host, subject) for subject in subjects)
            needs[f"{backend_name(alias)}/{service.host}"] = (thing(host.name, UNIT), *theirs)
    return needs


def check_aliases(address: str, port: int, pem: str | None, key: str | None, aliases: tuple[str, ...]) -> None:
    """`/v1/models` lists exactly the declared aliases; `pem`: the certificate that the gateway must show."""
    if not live_check.is_enabled():
        return
    url = f"{'https' if pem else 'http'}://{address}:{port}/v1/models"
    fix = f"see that this machine reaches {address} port {port}, and `steelyard apply --deploy serve`"
    needs = (thing(host.name, UNIT),)
    try:
        request = Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
        with urlopen(request, timeout=ANSWER_S, context=trusting(pem) if pem else None) as answer:
            listed = sorted(str(model["id"]) for model in json.load(answer)["data"])
    except URLError as error:
        live_check.report("gateway.lists-the-aliases", url, "answers", str(error.reason)[:120], fix, depends_on=needs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        live = type(error).__name__[:120]
        live_check.report("gateway.lists-the-aliases", url, "answers", live, fix, depends_on=needs)
    else:
        if listed != sorted(aliases):
            live_check.report(
                "gateway.lists-the-aliases", url, ", ".join(sorted(aliases)) or "none", ", ".join(listed) or "none", fix
            )


def check_certificate(pem: str) -> None:
    """Check that the certificate is valid today, and for a while yet."""
    if not live_check.is_enabled():
        return
    from cryptography import x509

    fix = "put a new one into `gateway.tls_pem`, and `steelyard apply --deploy serve`"
    subject = "certificate of the gateway"
    try:
        ends = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
    except ValueError as error:
        live_check.report("gateway.certificate", subject, "can be read", str(error)[:120], fix)
        return
    if ends < datetime.now(UTC):
        live_check.report("gateway.certificate", subject, "valid", f"ended on {ends:%Y-%m-%d}", fix)
    elif ends < datetime.now(UTC) + timedelta(days=SOON_DAYS):
        live = f"ends on {ends:%Y-%m-%d}"
        live_check.report("gateway.certificate", subject, f"valid for {SOON_DAYS} days", live, fix, Severity.WARNING)


def check_ends(clients: Clients) -> None:
    """Check that no declared key has ended, and that no client is about to be left without one."""
    if not live_check.is_enabled():
        return
    now = datetime.now(UTC).timestamp()
    soon = now + SOON_DAYS * 86400
    for name, client in sorted(clients.items()):
        subject = f"keys of client {name}"
        ended = [entry for entry in client.keys if entry.end <= now]
        if client.newest.end <= now:
            live, fix = f"the last one was valid {until(client.newest.end)}", "declare another, or remove the client"
            live_check.report("gateway.client-key", subject, "one is valid", live, fix)
        elif client.newest.end <= soon:
            live, fix = f"the last one is valid {until(client.newest.end)}", "declare another beside it"
            live_check.report(
                "gateway.client-key", subject, f"one is valid for {SOON_DAYS} days", live, fix, Severity.WARNING
            )
        elif ended:
            live = f"one that was valid {until(max(entry.end for entry in ended))} is declared still"
            fix = f"remove it from `gateway.clients.{name}.keys`, and `steelyard apply --deploy serve`"
            live_check.report("gateway.client-key", subject, "those that are valid", live, fix, Severity.WARNING)
