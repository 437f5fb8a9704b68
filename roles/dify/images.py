"""Services of the compose file that run, and their images by digest."""

from __future__ import annotations

from pathlib import Path

from steelyard.artifacts.images import PinnedImage, read_images
from steelyard.dify.compose import ComposeService, compose_services
from steelyard.dify.source import TEMPLATE, release_files
from steelyard.errors import DifyImagesMissing, SettingMissing
from steelyard.inventory.fleet import Fleet
from steelyard.roles.registry_mirror.settings import Settings as MirrorSettings
from steelyard.site.site import Site
from steelyard_host.dify.dotenv import texts

from .registration import dify_settings
from .settings import Release, Settings

HUB = "docker.io"
DATABASE, TOGETHER = "postgresql", "collaboration"  # Compose profiles of the release


def profiles(wanted: Settings, template: dict[str, str]) -> tuple[str, ...]:
    """Return Compose's profiles: the vector store, PostgreSQL unless it is your own, and editing together if wanted."""
    if "COMPOSE_PROFILES" in wanted.env:
        return tuple(name.strip() for name in wanted.env["COMPOSE_PROFILES"].split(",") if name.strip())
    store = wanted.env.get("VECTOR_STORE") or template.get("VECTOR_STORE") or "weaviate"
    return (store, *(() if wanted.postgres else (DATABASE,)), *((TOGETHER,) if wanted.collaboration else ()))


def image_names(fleet: Fleet) -> list[str]:
    """`REGISTRY/REPOSITORY:TAG` of every image that the declared release runs. Raises SettingMissing,
    DifyArchiveWrong.
    """
    wanted = dify_settings(fleet)
    if wanted.release is None:
        raise SettingMissing(where=str(fleet.path), key="dify.release", allowed="the release whose images are meant")
    files = release_files(wanted.release.archive, wanted.release.sha256)
    runs = compose_services(files, (*profiles(wanted, texts(files[TEMPLATE].decode())), DATABASE))
    return sorted({"{}/{}:{}".format(*named(service.image)) for service in runs if service.image})


def named(image: str) -> tuple[str, str, str]:
    """Registry, repository and tag of an image as a compose file writes it.

    What is before the first slash is a registry where it has a dot or a port in it, or is `localhost`: Docker's rule.
    """
    bare, _, _ = image.partition("@")
    first, slash, rest = bare.partition("/")
    registry, path = (first, rest) if slash and (set(".:") & set(first) or first == "localhost") else (HUB, bare)
    name, colon, tag = path.rpartition(":")
    name, tag = (name, tag) if colon else (path, "latest")
    return registry, name if "/" in name or registry != HUB else f"library/{name}", tag


def pinned_images(
    release: Release, runs: tuple[ComposeService, ...], site: Site, mirror: MirrorSettings
) -> dict[str, str]:
    """Service to its image by digest, from the mirror's own registry where there is one. Raises DifyImagesMissing."""
    if release.images is None:
        return {}
    every = read_images(Path(release.images).expanduser())
    listed = {(image.registry, image.path, image.tag): image for image in every}
    carried = {(image.path, image.tag): image for image in every}  # from a registry that has a copy of it
    references, missing = {}, []
    for service in runs:
        if not service.image:
            continue  # Compose builds it from the release's own folder
        name = named(service.image)
        image = listed.get(name) or carried.get(name[1:])
        if image is None:
            missing.append(service.image)
        else:
            references[service.name] = f"{registry_of(image, site, mirror)}/{image.path}@{image.digest}"
    if missing:
        raise DifyImagesMissing(where=release.images, images=", ".join(sorted(set(missing))))
    return references


def registry_of(image: PinnedImage, site: Site, mirror: MirrorSettings) -> str:
    """The registry that `steelyard mirror images sync` fills, as this host reaches it; else the image's own."""
    address = mirror.address or site.address_of_group("mirror")
    own = next((registry for registry in mirror.registries.values() if registry.upstream is None), None)
    return f"{address}:{own.port}" if own and address else image.registry
