"""Services of the compose file that run, and their images by digest."""

from __future__ import annotations

from pathlib import Path

from steelyard.artifacts.images import PinnedImage, read_images
from steelyard.dify.compose import ComposeService, compose_services
from steelyard.dify.image_name import ImageName, image_name
from steelyard.dify.image_name import image_names as names_of
from steelyard.dify.source import TEMPLATE, release_files
from steelyard.errors import DifyImagesMissing, SettingMissing
from steelyard.inventory.fleet import Fleet
from steelyard.roles.registry_mirror.settings import Settings as MirrorSettings
from steelyard.site.site import Site
from steelyard_host.dify.dotenv import texts

from .registration import dify_settings
from .settings import Release, Settings

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
    return names_of([*(service.image for service in runs if service.image), *wanted.release.weaviate_steps])


def pinned_images(
    release: Release, runs: tuple[ComposeService, ...], site: Site, mirror: MirrorSettings
) -> dict[str, str]:
    """Service to its image by digest, from the mirror's own registry where there is one. Raises DifyImagesMissing."""
    if release.images is None:
        return {}
    listed = listed_images(release)
    references, missing = {}, []
    for service in runs:
        if not service.image:
            continue  # Compose builds it from the release's own folder
        reference = pinned_reference(image_name(service.image), listed, site, mirror)
        if reference is None:
            missing.append(service.image)
        else:
            references[service.name] = reference
    if missing:
        raise DifyImagesMissing(where=release.images, images=", ".join(sorted(set(missing))))
    return references


def listed_images(release: Release) -> tuple[PinnedImage, ...]:
    """The release's list by digest; empty where none is declared."""
    return read_images(Path(release.images).expanduser()) if release.images is not None else ()


def pinned_reference(
    name: ImageName, listed: tuple[PinnedImage, ...], site: Site, mirror: MirrorSettings
) -> str | None:
    """The image by digest, from the mirror's own registry where there is one; None where the list lacks it.

    A registry that has a copy of it will do, where the list does not name its own.
    """
    alike = [image for image in listed if (image.path, image.tag) == (name.path, name.tag)]
    image = next((image for image in alike if image.registry == name.registry), alike[-1] if alike else None)
    return f"{registry_of(image, site, mirror)}/{image.path}@{image.digest}" if image is not None else None


def registry_of(image: PinnedImage, site: Site, mirror: MirrorSettings) -> str:
    """The registry that `steelyard mirror images sync` fills, as this host reaches it; else the image's own."""
    address = mirror.address or site.address_of_group("mirror")
    own = next((registry for registry in mirror.registries.values() if registry.upstream is None), None)
    return f"{address}:{own.port}" if own and address else image.registry
