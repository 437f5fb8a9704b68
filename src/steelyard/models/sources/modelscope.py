"""`modelscope://ORG/NAME@REVISION#sha256=HEX`: a repository of ModelScope, by its own client.

Its revisions are branches and tags, which move; the pin is the sha256 over the sorted hashes and names of all files.
Every file is held against the sha256 that ModelScope lists for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from steelyard.errors import DownloadFailed, LibraryMissing
from steelyard.models.content.file_policy import allowed_files, refuse

from .record import FetchRequest, PinnedByContent, Record, listing_hash, parsed, publish, sha256_of, source_folder

FORM = re.compile(
    r"^modelscope://(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?:#sha256=(?P<sha256>[0-9a-f]{64}))?$"
)


@dataclass(frozen=True)
class ModelScopeSource(PinnedByContent):
    """A repository of ModelScope at a branch or tag."""

    repo: str
    revision: str
    sha256: str | None

    @property
    def url(self) -> str:
        """The address without its pin."""
        return f"modelscope://{self.repo}@{self.revision}"


def parse(uri: str, where: str) -> ModelScopeSource:
    """The source that an address names; without a revision: master. Raises SourceWrong."""
    parts = parsed(FORM, uri, where)
    return ModelScopeSource(parts["repo"], parts["revision"] or "master", parts["sha256"])


def fetch(source: ModelScopeSource, asked: FetchRequest) -> Record:
    """Bring a repository here. The token is MODELSCOPE_API_TOKEN, or that of the client's login. Raises DownloadFailed,
    SourceRefused.
    """
    try:
        from modelscope_hub.api import HubApi
        from modelscope_hub.errors import HubError
    except ImportError as error:
        raise LibraryMissing(where=source.uri, library="modelscope-hub", extra="modelscope") from error
    folder = source_folder(source.url) / "files"
    try:
        api = HubApi()
        files = {
            entry.path: entry
            for entry in api.list_repo_files(source.repo, "model", revision=source.revision)
            if entry.type != "tree"
        }
        names, refused = allowed_files(files, asked.code, asked.pickles)
        refused = refused or next(
            ((name, "ModelScope lists no sha256 for it") for name in names if not files[name].sha256), None
        )
        if refused is not None:
            raise refuse(source.uri, asked.model, *refused)
        hashes = {name: f"sha256:{files[name].sha256}" for name in names}
        content = listing_hash(hashes)
        why = f"`{source.revision}` has other files now: their hash is {content[:12]}, not that of the pin"
        source.hold_to_pin(content, asked.model, next(iter(names), ""), why)
        total, done = sum(files[name].size for name in names), 0
        for name in names:
            path = folder / name
            if not (path.is_file() and sha256_of(path) == files[name].sha256):
                api.download_file(
                    source.repo,
                    "model",
                    name,
                    revision=source.revision,
                    local_dir=folder,
                    expected_sha256=files[name].sha256,
                )
            if sha256_of(path) != files[name].sha256:
                path.unlink()
                raise refuse(
                    source.uri, asked.model, name, "its sha256 is not the one that ModelScope lists; it was removed"
                )
            done += files[name].size
            asked.on_progress(done, total)
    except HubError as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DownloadFailed(where=source.uri, why=why) from error
    except OSError as error:
        raise DownloadFailed(where=source.uri, why=f"{error.strerror or error}") from error
    return publish(ModelScopeSource(source.repo, source.revision, content).uri, folder, hashes)
