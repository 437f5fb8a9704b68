"""The sources of versions: a kind of source per file, and what they have in common in `record`.

`file:///folder` is read where it lies. The others are fetched by `models add`, held against the source's own hashes,
and pinned: what models.yml declares names content, never something that moves.
"""

from __future__ import annotations

from steelyard.errors import SourceWrong

from . import hub, modelscope, s3, web
from .record import FetchRequest, Record, altered_file, fetched, record_of, sha256_of

__all__ = ["FetchRequest", "Record", "fetch", "fetched", "is_local", "parse", "record_of"]

Source = hub.HubSource | modelscope.ModelScopeSource | web.WebSource | s3.S3Source


def is_local(uri: str) -> bool:
    """True for a folder of this machine, which is read where it lies."""
    return uri.startswith("file://")


def parse(uri: str, where: str) -> Source:
    """A source that is fetched, pinned or not. Raises SourceWrong."""
    scheme = uri.split("://")[0]
    match scheme:
        case "hf":
            return hub.parse(uri, where)
        case "modelscope":
            return modelscope.parse(uri, where)
        case "http" | "https":
            return web.parse(uri, where)
        case "s3":
            return s3.parse(uri, where)
    raise SourceWrong(where=where, source=uri)


def fetch(source: Source, asked: FetchRequest) -> Record:
    """Bring a source here and compare it; its record is pinned. Raises HubUnreachable, HubRefused, DownloadFailed,
    SourceRefused.
    """
    here = record_of(source.uri) if source.pinned else None
    # the Hub's client looks into its own cache
    if (
        here
        and not isinstance(source, hub.HubSource)
        and altered_file(here, lambda name: sha256_of(here.paths[name])) is None
    ):
        return here
    match source:
        case hub.HubSource():
            return hub.fetch(source, asked)
        case modelscope.ModelScopeSource():
            return modelscope.fetch(source, asked)
        case web.WebSource():
            return web.fetch(source, asked)
        case s3.S3Source():
            return s3.fetch(source, asked)
