"""A host's model store as its helper tells of it, and as it is written down there. Sizes are bytes."""

from __future__ import annotations

from typing import NamedTuple


class VersionState(NamedTuple):
    """The answer of `store-state` of one version.

    `published`: id of its manifest, None where it is not published; `unrecorded`: a folder is in its place that nobody
    published; `altered`: files that are other than they were published; `current` and `previous`: versions that the
    links of the model name; `held`: blake3 of whole files that the host has, in any version; `staged_bytes`: what a
    try before left.
    """

    published: str | None
    unrecorded: bool
    altered: tuple[str, ...]
    current: str | None
    free_bytes: int
    held: tuple[str, ...]
    staged_bytes: int
    previous: str | None = None


class LinkedVersions(NamedTuple):
    """The answer of `store-switch`: the versions that `current` and `previous` of the model name now."""

    current: str | None
    previous: str | None


class Verification(NamedTuple):
    """The answer of `store-verify`: numbers of the chunks of each file that are not what was published.

    `id`: None where nothing is published; `extra`: files that are not of the version.
    """

    id: str | None
    bytes: int
    wrong: dict[str, tuple[int, ...]]
    extra: tuple[str, ...] = ()


class VersionLease(NamedTuple):
    """One who keeps a version from removal. `until`: seconds since 1970."""

    who: str
    why: str
    until: float


class VersionLeases(NamedTuple):
    """The answer of `store-release`: leases that stay."""

    leases: tuple[VersionLease, ...]


class StoredVersion(NamedTuple):
    """One published version of `store-list`.

    `own_bytes`: what its removal would give back; `published`: seconds since 1970; `in_use`: the process that uses
    it; `shared`: the folder on a mounted NAS that it shows.
    """

    project: str
    version: str
    id: str
    bytes: int
    own_bytes: int
    published: float
    altered: tuple[str, ...]
    current: bool
    in_use: str | None
    previous: bool = False
    leases: tuple[VersionLease, ...] = ()
    shared: str | None = None
    signed: bool = False


class StoreListing(NamedTuple):
    """The answer of `store-list`; `staging`: PROJECT@VERSION that are half received."""

    versions: tuple[StoredVersion, ...]
    free_bytes: int
    staging: tuple[str, ...] = ()


class Warming(NamedTuple):
    """The answer of `store-warm`: a version's pages in memory before and after. `why_not`: why some are missing."""

    bytes: int
    resident_before: int
    resident: int
    seconds: float
    why_not: str | None


class Stays(NamedTuple):
    """The answer of `store-forget`: a sentence for each version that was not removed."""

    stays: tuple[str, ...]


class Gone(NamedTuple):
    """The answer of `store-tidy` and `store-replaced`: names or folders of what was let go."""

    gone: tuple[str, ...]


class CompileCacheState(NamedTuple):
    """The answer of `compiled-state` and `compiled-save`.

    `key`: hash of `parts`, from which the engine compiled; `bytes`: what lies in its cache; `saved`: id of the
    manifest under which it is in the store, None where it is not.
    """

    key: str
    parts: dict[str, object]
    bytes: int
    saved: str | None


class CompileCacheUse(NamedTuple):
    """The answer of `compiled-use`: the key whose files the service's cache has now, or why it has none."""

    used: str | None
    why: str | None


class LoadFacts(NamedTuple):
    """The answer of `load-facts`: the host's memory, and what was measured with each engine folder."""

    memory_bytes: int
    engines: dict[str, dict[str, object]]


class WheelsState(NamedTuple):
    """The answer of `wheels-state` and `wheels-index`: how many wheels there are, and whether the index is of them."""

    wheels: int
    indexed: bool
