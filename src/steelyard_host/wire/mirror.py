"""A registry as a host finds it: `registry-probe`."""

from __future__ import annotations

from typing import NamedTuple


class RegistryProbe(NamedTuple):
    """Whether a registry serves an image, and how fast.

    `digest`: of the manifest; `bytes` and `seconds`: of a blob; `mode`: as the registry's own header says it; `error`:
    why one of them was not served.
    """

    digest: str | None
    bytes: int
    seconds: float
    mode: str | None
    error: str | None
