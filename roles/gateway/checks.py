"""Live checks of the gateway as a client sees it, from the controller: what drift asks beside the tasks."""

from __future__ import annotations

import json
import re
import ssl
from datetime import UTC, datetime, timedelta
from urllib.error import URLError
from urllib.request import Request, urlopen

from steelyard.checks import checking, report
from steelyard.finding import Severity

ANSWER_S = 10
SOON_DAYS = 30


def trusting(pem: str) -> ssl.SSLContext:
    """Nobody but a server with this very certificate; asked by address, which it need not name."""
    certificates = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    context = ssl.create_default_context(cadata="\n".join(certificates))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def check_aliases(address: str, port: int, pem: str | None, key: str | None, aliases: tuple[str, ...]) -> None:
    """`/v1/models` lists exactly the declared aliases; `pem`: the certificate that the gateway must show."""
    if not checking():
        return
    url = f"{'https' if pem else 'http'}://{address}:{port}/v1/models"
    fix = f"see that this machine reaches {address} port {port}, and `steelyard apply --deploy serve`"
    try:
        request = Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
        with urlopen(request, timeout=ANSWER_S, context=trusting(pem) if pem else None) as answer:
            listed = sorted(str(model["id"]) for model in json.load(answer)["data"])
    except URLError as error:
        report("gateway.lists-the-aliases", url, "answers", str(error.reason)[:120], fix)
    except (OSError, ValueError, KeyError, TypeError) as error:
        report("gateway.lists-the-aliases", url, "answers", f"{type(error).__name__}"[:120], fix)
    else:
        if listed != sorted(aliases):
            report("gateway.lists-the-aliases", url, ", ".join(sorted(aliases)) or "none", ", ".join(listed) or "none", fix)


def check_certificate(pem: str) -> None:
    """It is valid today, and for a while yet."""
    if not checking():
        return
    from cryptography import x509

    fix = "put a new one into `gateway.tls_pem`, and `steelyard apply --deploy serve`"
    subject = "certificate of the gateway"
    try:
        ends = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
    except ValueError as error:
        report("gateway.certificate", subject, "can be read", str(error)[:120], fix)
        return
    if ends < datetime.now(UTC):
        report("gateway.certificate", subject, "valid", f"ended on {ends:%Y-%m-%d}", fix)
    elif ends < datetime.now(UTC) + timedelta(days=SOON_DAYS):
        live = f"ends on {ends:%Y-%m-%d}"
        report("gateway.certificate", subject, f"valid for {SOON_DAYS} days", live, fix, Severity.WARNING)
