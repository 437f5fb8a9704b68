"""Copies images by digest into a registry of the host, with skopeo on that host: this machine needs no way to
either.
"""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from steelyard.api.sudo import sudo_arguments
from steelyard.artifacts.images import PinnedImage
from steelyard.modules.facts.helper import HelperAnswer

COPY_S = 3600


def copy_command(image: PinnedImage, port: int) -> StringCommand:
    """Every platform of it, byte for byte: a digest that changes on the way is an error."""
    target = QuoteString(f"docker://127.0.0.1:{port}/{image}")
    source = ["--src-tls-verify=false"] if image.insecure else []
    return StringCommand(
        "skopeo copy --quiet --all --preserve-digests --dest-tls-verify=false",
        *source,
        QuoteString(image.source),
        target,
    )


def copied(host: Host, images: tuple[PinnedImage, ...], port: int) -> dict[str, str]:
    """Copy images to this host; return what became of each: there, copied, or skopeo's last words."""
    sudo = sudo_arguments(host)
    outcomes = {}
    for image in images:
        with ctx_host.use(host):
            question = ("registry-probe", f"http://127.0.0.1:{port}", f"{image.path}@{image.digest}")
            answer = host.get_fact(HelperAnswer, words=question, **sudo)
        if answer is not None and not answer["error"]:
            outcomes[f"{image}@{image.digest}"] = "there"
            continue
        done, output = host.run_shell_command(copy_command(image, port), _timeout=COPY_S, **sudo)
        lines = output.stderr_lines or output.stdout_lines
        outcomes[f"{image}@{image.digest}"] = (
            "copied" if done else f"failed: {lines[-1][-300:] if lines else 'no word of why'}"
        )
    return outcomes
