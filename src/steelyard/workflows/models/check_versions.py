"""Declared versions where they lie on hosts: read again byte for byte, or brought into the page cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.api.host_error import HostError
from steelyard.errors import SignatureWrong
from steelyard.models.content.signing import verify_signature
from steelyard.modules.connectors.helper_call import call_helper
from steelyard_host.wire.store import Verification, Warming

from .push_models import trusted_on

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from steelyard.engine.session import Session
    from steelyard.site.site import Site

# by host and model, what there is to say of the declared version; None: it is not published, or there is no helper
Verifications = dict[tuple[str, str], Verification | None]
Warmings = dict[tuple[str, str], Warming | None]
VERIFY_S = 24 * 3600
ANSWER_S = 60  # that a host may take to answer after the time that it was given


def verify_versions(session: Session, site: Site, models: list[str], quarantine: bool) -> Verifications:
    """Read every byte of the models' declared versions again, at idle priority, and hold signatures against keys.

    `quarantine` takes bad files out of sight, so that the next push fetches them. A signature that no trusted key made
    is its host's error.
    """
    verified: Verifications = {}

    def verify(host: Host) -> None:
        for project in models:
            if host.name not in site.stored_on[project]:
                continue
            argv = ["store-verify", site.model_root, project, site.models[project].version]
            argv += ["--quarantine"] if quarantine else []
            answer = call_helper(host, Verification, *argv, seconds=VERIFY_S, idle=True)
            if answer is None or answer.id is None:
                verified[host.name, project] = None
                continue
            verified[host.name, project] = answer
            _check_signature(host, site, project, answer.id)

    session.each(verify, "verifying")
    return verified


def _check_signature(host: Host, site: Site, project: str, manifest: str) -> None:
    """Raise HostError where no key that the host trusts has signed what lies there."""
    model = site.models[project]
    try:
        verify_signature(project, model.version, manifest, model.signature, trusted_on(host.data), host.name)
    except SignatureWrong as error:
        raise HostError(error) from error


def damaged_models(models: list[str], verified: Verifications) -> list[str]:
    """Models of which a host lacks the version, or has it otherwise than it was published; in the order given."""
    damaged = {project for (_, project), answer in verified.items() if answer is None or answer.wrong or answer.extra}
    return [project for project in models if project in damaged]


def warm_versions(session: Session, site: Site, models: list[str], seconds: int) -> Warmings:
    """Bring the models' declared versions into the page cache of the hosts that store them, for `seconds` at most."""
    warmed: Warmings = {}

    def warm(host: Host) -> None:
        for project in models:
            if host.name in site.stored_on[project]:
                folder = f"{site.model_root}/{project}/{site.models[project].version}"
                argv = ("store-warm", folder, str(seconds))
                seconds_in_all = seconds + ANSWER_S
                warmed[host.name, project] = call_helper(host, Warming, *argv, seconds=seconds_in_all, idle=True)

    session.each(warm, "warming")
    return warmed
