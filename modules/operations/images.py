"""Copies images by digest into a registry of the host, with skopeo on that host: this machine needs no way to either."""

from __future__ import annotations

from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.context import ctx_host

from steelyard.images import Image
from steelyard.modules.facts.helper import HelperAnswer

COPY_S = 3600


def copy_command(image: Image, port: int) -> StringCommand:
    """Every platform of it, byte for byte: a digest that changes on the way is an error."""
    target = QuoteString(f"docker://127.0.0.1:{port}/{image}")
    source = ["--src-tls-verify=false"] if image.insecure else []
    return StringCommand(
        "skopeo copy --quiet --all --preserve-digests --dest-tls-verify=false", *source, QuoteString(image.source), target
    )


def copied(host: Any, images: tuple[Image, ...], port: int) -> dict[str, str]:
    """What became of each image on this host: there, copied, or skopeo's last words."""
    sudo: dict[str, Any] = {"_sudo": bool(host.data.get("_sudo"))}
    if host.data.get("_sudo_password"):
        sudo["_sudo_password"] = host.data.get("_sudo_password")
    found = {}
    for image in images:
        with ctx_host.use(host):
            words = ("registry-probe", f"http://127.0.0.1:{port}", f"{image.path}@{image.digest}")
            answer = host.get_fact(HelperAnswer, words=words, **sudo)
        if answer is not None and not answer["error"]:
            found[f"{image}@{image.digest}"] = "there"
            continue
        done, output = host.run_shell_command(copy_command(image, port), _timeout=COPY_S, **sudo)
        words_of = output.stderr_lines or output.stdout_lines
        found[f"{image}@{image.digest}"] = (
            "copied" if done else f"failed: {words_of[-1][-300:] if words_of else 'no word of why'}"
        )
    return found
