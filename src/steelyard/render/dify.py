"""What `steelyard dify` shows: models, proofs, backups, an upgrade with its outage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .models import gib
from .tables import dify_table, made_table

if TYPE_CHECKING:
    from pathlib import Path

    from steelyard.dify.proof import Proof
    from steelyard.dify.seed import Seed

    from .screen import Screen


def show_models(screen: Screen, where: str, provider: str, models: Sequence[dict[str, Any]], by_hand: Sequence[str]) -> None:
    kept = ("model", "model_type", "status", "model_properties")
    rows = [
        {**{key: model[key] for key in kept}, "ours": f"{model['model_type']} {model['model']}" not in by_hand}
        for model in models
    ]
    if screen.json:
        screen.document("dify ls", {"dify": where, "provider": provider, "models": rows})
        return
    screen.out(f"{where} ({provider})")
    screen.tables(dify_table(models, by_hand))


def show_proofs(screen: Screen, where: str, proofs: Sequence[Proof]) -> None:
    if screen.json:
        screen.document("dify check", {"dify": where, "models": [proof.as_json() for proof in proofs]})
        return
    table = made_table("MODEL", "TYPE", "RESULT", "SECONDS", "WHY")
    for proof in proofs:
        seconds = "-" if proof.seconds is None else f"{proof.seconds:.2f}"
        table.add_row(proof.model, proof.type, proof.result, seconds, proof.why or "-")
    screen.out(f"{where}: asked as a user of Dify asks, through its own service API")
    screen.tables(table)


def show_backups(screen: Screen, host: str, backups: Sequence[dict[str, Any]]) -> None:
    if screen.json:
        screen.document("dify backups", {"host": host, "backups": list(backups)})
        return
    table = made_table("ARCHIVE", "SIZE", "RESTORED ONCE")
    for each in backups:
        table.add_row(each["archive"], gib(each["bytes"]), "yes" if each["proved"] else "no")
    screen.tables(table)


def show_seed(screen: Screen, package: Path, seed: Seed) -> None:
    """With the lines that declare it."""
    if screen.json:
        screen.document("dify seed", {"cache": str(seed.path), "sha256": seed.sha256, "bytes": seed.size, "uv": seed.uv})
        return
    screen.out(f"{seed.path}: {gib(seed.size)}, filled by {seed.uv}; an install from it without a network was tried")
    screen.out(f"plugins:\n  - package: {package}\n    cache: {seed.path}\n    cache_sha256: {seed.sha256}")


def show_done(screen: Screen, command: str, host: str, found: dict[str, Any], sentence: str) -> None:
    """One thing that was done on the Dify host."""
    if screen.json:
        screen.document(command, {"host": host, **found})
        return
    screen.out(f"{host}: {sentence}")
