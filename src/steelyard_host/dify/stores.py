"""The stores that Dify's containers keep data in, and which of them may go from one release's image to the next.

A volume that one release of a database wrote is not always read by the next: PostgreSQL never reads another major
release's, Weaviate and others must have run every minor release in between. Docker starts the new image on it all the
same, so both Compose files are compared before anything stops.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from steelyard_host.dify.stack import DifyError, Stack

COMPOSE = "docker-compose.yaml"
WEAVIATE = "weaviate"
# programs that mount files and keep none
NO_STORES = ("nginx", "squid", "busybox", "certbot", "kibana", "opensearch-dashboards", "unstructured-api", "alpine")
POSTGRESQL = ("postgres", "pgvector")
MINOR_BY_MINOR = (WEAVIATE, "qdrant", "etcd")
UPWARDS = ("redis", "valkey")  # they read what every older release wrote
NUMBERS = re.compile(r"\d+(?:\.\d+)*")
BELOW = re.compile(r"-?(?:alpine|debian|ubuntu|bookworm|bullseye|trixie|ubi)[\w.]*")  # what the image is made from
POSTGRESQL_IN = re.compile(r"(?:^|-)pg(\d+)")


class StoreImage(NamedTuple):
    """The image of a service that keeps data. `reference` is what runs; `tag` tells its release, empty: none does.

    `official_tag`: that of the release's own Compose file.
    """

    service: str
    reference: str
    tag: str
    official_tag: str = ""

    @property
    def name(self) -> str:
        """The last part of the repository, as `postgres` of `mirror:5000/library/postgres@sha256:...`."""
        return _repository(self.reference).rsplit("/", 1)[-1]

    @property
    def versions(self) -> list[tuple[int, ...]]:
        """The releases that the tag names, PostgreSQL's first: `pg16-v0.3.0` names two, `latest` none."""
        tag = BELOW.sub("", self.tag)
        inside = POSTGRESQL_IN.findall(tag)
        numbers = NUMBERS.findall(POSTGRESQL_IN.sub("", tag))
        return [tuple(map(int, text.split("."))) for text in (*inside, *numbers)]

    @property
    def minor(self) -> tuple[int, ...] | None:
        """Major and minor release; None where the tag does not tell both."""
        return self.versions[0][:2] if self.versions and len(self.versions[0]) > 1 else None

    @property
    def shown(self) -> str:
        """The image as a person knows it."""
        return "%s:%s" % (_repository(self.reference), self.tag) if self.versions else self.reference


class VectorStep(NamedTuple):
    """An image of Weaviate that the vectors pass through on their way. `minor`: 28 of 1.28.16."""

    version: str
    image: str

    @property
    def minor(self) -> tuple[int, ...]:
        """Major and minor release."""
        return tuple(int(part) for part in self.version.split(".")[:2])


def _repository(reference: str) -> str:
    name = reference.partition("@")[0]
    return name[: -len(_tag(reference)) - 1] if _tag(reference) else name


def _tag(reference: str) -> str:
    last = reference.partition("@")[0].rsplit("/", 1)[-1]
    return last.partition(":")[2]


def images(stack: Stack) -> dict[str, StoreImage]:
    """The images of the stores of a release by their services, as its Compose files are laid out. Raises DifyError.

    An image by digest alone has no release in its name: then the official file's tag tells it.
    """
    official = {name: service.image for name, service in stack.services("--file", COMPOSE).items()}
    stores = {}
    for name, service in stack.services().items():
        official_tag = _tag(official.get(name, ""))
        store = StoreImage(name, service.image, _tag(service.image) or official_tag, official_tag)
        if service.keeps_data and not store.name.startswith("dify-") and store.name not in NO_STORES:
            stores[name] = store
    return stores


def require_readable(stack: Stack) -> None:
    """Refuses images of stores that would not read what the containers before them wrote. Raises DifyError.

    An image of another name is a decision of whoever declared it.
    """
    declared, containers = images(stack), stack.containers()
    running = {
        name: StoreImage(name, containers[name].image, _tag(containers[name].image) or store.official_tag)
        for name, store in declared.items()
        if name in containers
    }
    same = {name: store for name, store in running.items() if store.name == declared[name].name}
    way(same, declared, [])


def way(old: dict[str, StoreImage], new: dict[str, StoreImage], steps: list[VectorStep]) -> list[VectorStep]:
    """The steps that Weaviate's volume takes between two releases, none where it needs none.

    Raises DifyError with both images and what to do, where a volume would not be read.
    """
    taken: list[VectorStep] = []
    for service, before in old.items():
        after = new.get(service)
        if after is None:
            raise DifyError(
                "%s keeps data in %s, and the staged release runs no such service: declare what keeps it now "
                "(`dify.env` VECTOR_STORE, `dify.postgres`) apart from an upgrade, because nothing moves the data"
                % (service, before.shown)
            )
        is_same = before.name == after.name and before.versions == after.versions
        if before.reference == after.reference or (is_same and before.versions):
            continue
        if service == WEAVIATE and before.versions and after.versions:
            taken = ladder(before, after, steps)
            continue
        why = _unread(before, after)
        if why:
            raise DifyError(
                "%s would go from %s to %s on the volume it has: %s. Keep the image that runs with "
                "`dify.images: {%s: %s}`, or move its data by its own means first"
                % (service, before.shown, after.shown, why, service, before.shown)
            )
    return taken


def _unread(before: StoreImage, after: StoreImage) -> str:
    """The reason why the new image may not read the volume; empty where it is known to."""
    if before.name != after.name:
        return "it is another program"
    is_postgresql = before.name in POSTGRESQL
    if not before.versions or not after.versions or (len(before.versions) != len(after.versions) and not is_postgresql):
        return "their names do not tell which release each is"
    if after.versions[0][:2] < before.versions[0][:2]:
        return "an older release does not read what a newer one wrote"
    if before.name in UPWARDS:
        return ""
    if before.name in MINOR_BY_MINOR and _apart(before.versions[0], after.versions[0]) > 1:
        return "it must have run every minor release in between"
    if is_postgresql:
        is_other = before.versions[0][0] != after.versions[0][0]
        return "PostgreSQL does not read the data folder of another major release" if is_other else ""
    for old, new in zip(before.versions, after.versions):
        if old[0] != new[0] or (old[0] == 0 and old[:2] != new[:2]):
            return "nothing says that one major release reads what another wrote"
    return ""


def _apart(old: tuple[int, ...], new: tuple[int, ...]) -> int:
    """How many minor releases lie between; many where the major one differs."""
    old, new = (*old, 0)[:2], (*new, 0)[:2]
    return new[1] - old[1] if old[0] == new[0] else 1000


def ladder(before: StoreImage, after: StoreImage, steps: list[VectorStep]) -> list[VectorStep]:
    """The steps between two images of Weaviate, one for each minor release. Raises DifyError."""
    old, new = before.versions[0], after.versions[0]
    apart = _apart(old, new)
    if apart < 0:
        why = "an older release does not read what a newer one wrote: leave `dify.images.weaviate` as it is"
    elif apart >= 1000:
        why = "no way from one major release to another is known: stay at a release of Dify that runs %s" % before.tag
    else:
        by_minor = {step.minor: step for step in steps}
        needed = [(old[0], minor) for minor in range((*old, 0)[1] + 1, (*new, 0)[1])]
        missing = ["%d.%d" % minor for minor in needed if minor not in by_minor]
        if not missing:
            return [by_minor[minor] for minor in needed]
        why = (
            "a volume must run every minor release in between, or vector search breaks without a word: name an image "
            "for %s in `dify.release.weaviate_steps`" % ", ".join(missing)
        )
    raise DifyError("Weaviate would go from %s to %s on the volume it has; %s" % (before.shown, after.shown, why))
