"""A version whose source is not on this machine: whose copy is taken for it, and whose is not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from steelyard.errors import CopyUnproven, SignatureWrong, SourceMissing
from steelyard.models.content.manifest import Manifest
from steelyard.models.content.signing import sign
from steelyard.models.sources.known_manifests import known_manifest, remember_manifest
from steelyard.models.sources.resolve import read_manifest
from steelyard.site.schema import Model
from steelyard.workflows.models import push_models
from steelyard_host.wire.store import VersionState

PATH = push_models.VersionPath("/models", "llm/tiny", "v1")
SOURCE = "file:///gone"
Copies = tuple[Manifest, Manifest]


def content(folder: Path, text: str) -> Manifest:
    folder.mkdir()
    (folder / "config.json").write_text(text)
    return read_manifest("llm/tiny", f"file://{folder}", "models.yml")


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copies:
    """The declared version, and what a host that was taken over has under its name; for a user who knows neither."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return content(tmp_path / "ours", "{}"), content(tmp_path / "theirs", '{"theirs": 1}')


def taken(
    monkeypatch: pytest.MonkeyPatch,
    held: dict[str, Manifest],
    trusted: set[tuple[str, ...]],
    signature: str | None = None,
) -> Manifest:
    """The manifest of the copy that is taken, of hosts that hold these."""
    monkeypatch.setattr(push_models, "manifest_on", lambda host, *path: held[host])
    fields: dict[str, Any] = {**dict.fromkeys(VersionState._fields), **VersionState._field_defaults}
    whole = VersionState(**{**fields, "published": True, "altered": None})
    targets: dict[str, Any] = {name: push_models.PushTarget(name, whole) for name in held}  # type: ignore[arg-type]
    model = Model.model_validate({"version": "v1", "alias": "tiny", "source": SOURCE, "signature": signature})
    missing = SourceMissing(where="models.yml", model="llm/tiny", source=SOURCE)
    return push_models._held_by_a_host(missing, PATH, model, targets, trusted, lambda event: None).manifest


def test_no_host_s_word_is_enough_where_nothing_is_signed_and_the_source_was_never_read(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CopyUnproven, match="never read the source") as told:
        taken(monkeypatch, {"gpu-1": copies[1]}, {()})
    assert told.value.where == "gpu-1"


def test_a_host_with_other_files_is_passed_by_and_a_neighbour_s_copy_is_taken(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = copies
    remember_manifest("llm/tiny", "v1", SOURCE, ours.id)
    assert taken(monkeypatch, {"gpu-1": theirs, "gpu-2": ours}, {()}).id == ours.id
    with pytest.raises(CopyUnproven, match="another one than the source was"):
        taken(monkeypatch, {"gpu-1": theirs}, {()})


def test_a_signature_proves_a_copy_where_every_host_asks_for_one(
    copies: Copies, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours, theirs = copies
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    trusted = {(key.with_suffix(".pub").read_text(),)}
    signature = sign("llm/tiny", "v1", ours.id, key)
    assert taken(monkeypatch, {"gpu-1": ours}, trusted, signature).id == ours.id
    with pytest.raises(SignatureWrong):
        taken(monkeypatch, {"gpu-1": theirs}, trusted, signature)
    with pytest.raises(CopyUnproven, match="not every host trusts a key"):
        taken(monkeypatch, {"gpu-1": ours}, {*trusted, ()}, signature)


def test_what_the_source_was_is_known_by_model_version_and_source(copies: Copies) -> None:
    remember_manifest("llm/tiny", "v1", SOURCE, copies[0].id)
    assert known_manifest("llm/tiny", "v1", SOURCE) == copies[0].id
    assert known_manifest("llm/tiny", "v2", SOURCE) is None
    assert known_manifest("llm/tiny", "v1", "file:///other") is None
    remember_manifest("llm/tiny", "v1", SOURCE, copies[1].id)
    assert known_manifest("llm/tiny", "v1", SOURCE) == copies[1].id
