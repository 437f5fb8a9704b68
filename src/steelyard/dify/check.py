"""One whole check of the registered models: what killed ones left is removed, each model is asked, nothing stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from steelyard.interrupts.signals import Stopped

from .check_objects import CheckObjects
from .client import DifyClient
from .proof import ModelProof, prove


@dataclass(frozen=True)
class ModelCheck:
    """The outcome of a check. `removed`: what killed checks had left; `left`: what this one could not remove."""

    proofs: tuple[ModelProof, ...]
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def any_failed(self) -> bool:
        """Whether a model that was asked did not answer."""
        return any(proof.result == "failed" for proof in self.proofs)


def check_models(client: DifyClient, provider: str, tell: Callable[[str], None]) -> ModelCheck:
    """Ask every registered model of the provider; `tell` gets a line for each. Raises the client's errors."""
    objects = CheckObjects(client)
    proofs = []
    try:
        models = client.models(provider)
        removed = objects.remove_left_behind()
        for what in removed:
            tell(f"removed what a killed check had left: {what}")
        for proof in prove(client, provider, models, objects):
            tell(f"{proof.type} {proof.model}: {proof.result}")
            proofs.append(proof)
    except Stopped as stopped:
        stopped.state = (
            f"still in Dify, and the next check removes it: {'; '.join(objects.left)}" if objects.left else ""
        )
        raise
    finally:
        objects.close()
        for what in objects.left:
            tell(f"still in Dify, and the next check removes it: {what}")
    return ModelCheck(tuple(proofs), tuple(removed), tuple(objects.left))
