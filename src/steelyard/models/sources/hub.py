"""`hf://ORG/NAME@COMMIT`: a repository of the Hugging Face Hub, or of a mirror of it, in the Hub's own cache on this
machine.

Files lie where every other program of the Hub's looks for them, so a cache that is there already is adopted without a
copy. A record says which files of a commit were held against the Hub's own hashes; a version is made of those and no
others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.errors import HubRefused, HubUnreachable
from steelyard.models.content.file_policy import allowed_files, refuse

from .record import FetchRequest, Record, git_blob_of, parsed, sha256_of, write_record

AT_ONCE = 8  # files
REPO = re.compile(r"^hf://(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?$")


@dataclass(frozen=True)
class HubSource:
    """A repository of the Hub: `repo` as ORG/NAME; `revision` a commit once it is pinned."""

    repo: str
    revision: str

    @property
    def uri(self) -> str:
        """The address, with its revision."""
        return f"hf://{self.repo}@{self.revision}"

    @property
    def pinned(self) -> bool:
        """True where the revision is a commit."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None


def parse(uri: str, where: str) -> HubSource:
    """The source that an address names; without a revision: main. Raises SourceWrong."""
    parts = parsed(REPO, uri, where)
    return HubSource(parts["repo"], parts["revision"] or "main")


def cache() -> Path:
    """The folder where the Hub's client keeps repositories, by its own variables."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def snapshot(source: HubSource) -> Path:
    """The folder of a pinned repository in the Hub's cache."""
    return cache() / f"models--{source.repo.replace('/', '--')}" / "snapshots" / source.revision


def fetch(source: HubSource, asked: FetchRequest) -> Record:
    """Bring a repository here and hold every file against the Hub's hashes; the record names its commit.

    Raises HubUnreachable, HubRefused, SourceRefused.
    """
    reasons = []
    for endpoint in asked.endpoints:
        try:
            return _fetch(source, asked, endpoint)
        except _NotReached as error:
            reasons.append(f"{endpoint or 'the Hub'}: {error}")
    raise HubUnreachable(where=source.uri, why="; ".join(reasons))


class _NotReached(Exception):
    """An endpoint that gives no answer; another one may."""


def _fetch(source: HubSource, asked: FetchRequest, endpoint: str | None) -> Record:
    """Fetch from one endpoint. Raises _NotReached, HubRefused, SourceRefused."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.hf_api import RepoFile

    token = asked.token
    with _as_ours(source, token):
        api = HfApi(endpoint=endpoint, token=token)
        info = api.model_info(source.repo, revision=source.revision, timeout=30)
        pinned = HubSource(source.repo, str(info.sha))
        tree = api.list_repo_tree(source.repo, recursive=True, revision=pinned.revision)
        wanted = _wanted(pinned, asked, [entry for entry in tree if isinstance(entry, RepoFile)])
        total, done = sum(entry.size for entry in wanted), 0

        def one(entry: RepoFile) -> int:
            path = hf_hub_download(source.repo, entry.path, revision=pinned.revision, endpoint=endpoint, token=token)
            _compare(pinned, asked.model, entry, Path(path))
            return entry.size

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for size in pool.map(one, wanted):
                done += size
                asked.on_progress(done, total)
    card: Any = info.card_data or {}
    licence = card.get("license") if hasattr(card, "get") else None
    hashes = {entry.path: f"sha256:{entry.lfs.sha256}" if entry.lfs else f"git:{entry.blob_id}" for entry in wanted}
    return write_record(Record(pinned.uri, str(snapshot(pinned)), str(licence) if licence else None, hashes))


@contextmanager
def _as_ours(source: HubSource, token: str | None) -> Iterator[None]:
    """Errors of the Hub's client as _NotReached, where another endpoint may answer, or as HubRefused."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        why = "this token may not read it" if token else "no token was given"
        raise HubRefused(where=source.uri, why=f"the repository is gated, and {why}") from error
    except RepositoryNotFoundError as error:
        raise HubRefused(where=source.uri, why="there is no such repository, or this token may not see it") from error
    except RevisionNotFoundError as error:
        raise HubRefused(where=source.uri, why=f"there is no revision `{source.revision}`") from error
    except LocalEntryNotFoundError as error:
        raise _NotReached(_first_line(error)) from error
    except (EntryNotFoundError, HfHubHTTPError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None and status >= 500:
            raise _NotReached(f"HTTP {status}") from error
        raise HubRefused(where=source.uri, why=_first_line(error)) from error
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            raise HubRefused(where=source.uri, why=f"{error.strerror}: {error.filename or cache()}") from error
        raise _NotReached(_first_line(error)) from error
    except Exception as error:
        if not type(error).__module__.startswith("httpx"):  # the client's transport, which changes with its version
            raise
        raise _NotReached(_first_line(error)) from error


def _wanted(source: HubSource, asked: FetchRequest, files: list[Any]) -> list[Any]:
    names, refused = allowed_files((entry.path for entry in files), asked.code, asked.pickles)
    if refused is not None:
        raise refuse(source.uri, asked.model, *refused)
    return [entry for entry in files if entry.path in set(names)]


def _compare(source: HubSource, model: str, entry: Any, path: Path) -> None:
    """A file against the Hub's own hash: sha256 of what lies in its large file store, git's blob id of the rest."""
    own = sha256_of(path) if entry.lfs else git_blob_of(path)
    theirs = entry.lfs.sha256 if entry.lfs else entry.blob_id
    if own != theirs:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        why = f"its hash is {own[:12]}, the Hub's {theirs[:12]}; it was removed"
        raise refuse(source.uri, model, entry.path, why)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
