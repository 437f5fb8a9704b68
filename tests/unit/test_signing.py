"""Signatures by real keys and OpenSSH: good for one model, version and content, and for keys that the site trusts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from steelyard.errors import SignatureNotMade, SignatureWrong
from steelyard.models.content.signing import sign, verify_signature
from steelyard.models.sources.declared import declared_version
from steelyard.site.schema import Model

ID = "a" * 64


@pytest.fixture
def keys(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "ours", tmp_path / "theirs"]
    for path in made:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "somebody's key", "-f", path], check=True)
    return made


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text()


def test_a_signature_holds_for_what_it_was_made_for_and_for_nothing_else(keys: list[Path]) -> None:
    ours, theirs = keys
    trusted = (public(theirs), public(ours))
    signature = sign("llm/x", "v1", ID, ours)
    verify_signature("llm/x", "v1", ID, signature, trusted, "models.yml")
    for model, version, manifest, keyring in (
        ("llm/y", "v1", ID, trusted),
        ("llm/x", "v2", ID, trusted),
        ("llm/x", "v1", "b" * 64, trusted),
        ("llm/x", "v1", ID, (public(theirs),)),
    ):
        with pytest.raises(SignatureWrong, match="not of a trusted key, or of other content"):
            verify_signature(model, version, manifest, signature, keyring, "models.yml")
    with pytest.raises(SignatureWrong, match="it is not signed"):
        verify_signature("llm/x", "v1", ID, None, trusted, "models.yml")
    for broken in ("nonsense", signature.replace("A", "B", 3)):
        with pytest.raises(SignatureWrong):
            verify_signature("llm/x", "v1", ID, broken, trusted, "models.yml")
    verify_signature("llm/x", "v1", ID, None, (), "models.yml")


def test_a_key_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SignatureNotMade) as told:
        sign("llm/x", "v1", ID, tmp_path / "none")
    assert "\n" not in str(told.value)


def test_a_declared_version_is_held_against_the_sites_keys_before_a_byte_moves(
    keys: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text("{}")
    model = Model(source=f"file://{source}", version="v1")
    manifest = declared_version("llm/x", model).manifest
    trusted = (public(keys[0]),)
    signed = Model(source=f"file://{source}", version="v1", signature=sign("llm/x", "v1", manifest.id, keys[0]))
    assert declared_version("llm/x", signed, trusted).manifest.as_json()["signature"] == signed.signature
    (source / "config.json").write_text('{"other": 1}')
    with pytest.raises(SignatureWrong):
        declared_version("llm/x", signed, trusted)
    with pytest.raises(SignatureWrong, match="it is not signed"):
        declared_version("llm/x", model, trusted)
