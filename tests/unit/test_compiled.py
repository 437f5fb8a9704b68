"""What an engine compiled, in folders that play a host: kept under a key, used by what is alike, and no way to another
file.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from steelyard_host.errors import HelperError
from steelyard_host.store import compile_cache
from steelyard_host.store.verify import verify

USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compile_cache, "CACHES", tmp_path / "caches")
    monkeypatch.setattr(compile_cache, "SERVICES", tmp_path / "services")
    if os.getuid() != 0:  # a user who becomes itself may set its ids, and not its groups
        monkeypatch.setattr(compile_cache.os, "setgroups", lambda _: None)
    (tmp_path / "services").mkdir()
    (tmp_path / "services/x.yaml").write_text("model: /run/x\nmax-model-len: 256\n")
    (tmp_path / "services/x.env").write_text("# steelyard\nA=1\nSTEELYARD_CONFIG=abc\n")
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.json").write_text("{}")
    (tmp_path / "engine/lib/python3.11/site-packages/vllm-0.32.0.dist-info").mkdir(parents=True)
    (tmp_path / "caches/x/vllm/torch_compile_cache/abc").mkdir(parents=True)
    (tmp_path / "caches/x/vllm/torch_compile_cache/abc/model").write_bytes(b"compiled" * 1000)
    return tmp_path


def key(host: Path, version: str = "v1") -> str:
    return compile_cache.key_of(compile_cache.parts_of("x", host / "engine", host / version))


def test_the_key_is_of_all_it_was_compiled_from_and_of_no_weights(host: Path) -> None:
    first = key(host)
    assert key(host, "v2") == first, "another version of the same architecture"
    (host / "services/x.env").write_text("A=1\nSTEELYARD_CONFIG=other\n")
    (host / "services/x.yaml").write_text("max-model-len: 256\nmodel: /run/x\nsafetensors-load-strategy: prefetch\n")
    assert key(host) == first, "how it is stamped, and how weights are read"
    seen = {first}
    for path, text in (
        ("services/x.yaml", "max-model-len: 512\n"),
        ("services/x.env", "A=2\n"),
        ("v1/config.json", '{"a": 1}'),
    ):
        (host / path).write_text(text)
        seen.add(key(host))
    (host / "engine/lib/python3.11/site-packages/vllm-0.32.0.dist-info").rename(
        host / "engine/lib/python3.11/site-packages/vllm-0.33.0.dist-info"
    )
    seen.add(key(host))
    assert len(seen) == 5


def test_what_was_compiled_is_kept_and_comes_back_into_an_empty_cache(host: Path) -> None:
    at = (host / "root", "x", host / "engine", host / "v1")
    saved = compile_cache.save(*at)
    assert (saved.bytes, bool(saved.saved)) == (8000, True)
    assert verify(host / "root", "_compiled/x", saved.key, quarantine=False).wrong == {}
    made = host / "caches/x/vllm/torch_compile_cache/abc/model"
    made.unlink()
    assert compile_cache.use(*at, USER) == (saved.key, None)
    assert made.read_bytes() == b"compiled" * 1000
    assert compile_cache.use(*at, USER).why == "it is in use already"
    (host / "services/x.yaml").write_text("max-model-len: 512\n")
    assert compile_cache.use(*at, USER) == (None, "what is kept was compiled from something else")


def test_a_link_in_the_engines_cache_leads_to_no_file_of_anybody_else(host: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs two users")
    folder = host / "caches/x/vllm/torch_compile_cache/abc"
    nobody = pwd.getpwnam("nobody")
    for path in (host / "caches/x").rglob("*"):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    secret = host / "secret"
    secret.write_text("canary")
    at = (host / "root", "x", host / "engine", host / "v1")
    os.link(secret, folder / "hard")  # a link that looks like a plain file, and is not the engine's
    with pytest.raises(HelperError, match="not a file of the engine's own"):
        compile_cache.save(*at)
    (folder / "hard").unlink()
    assert compile_cache.save(*at).saved
    # and what comes back is written as the engine's user: over a link it reaches what that user may write, and nothing
    # else
    (folder / "model").unlink()
    (folder / "model").symlink_to(secret)
    for parent in [host, *host.parents]:
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    assert compile_cache.use(*at, "nobody").used is None
    assert secret.read_text() == "canary"


@pytest.mark.parametrize("swapped", ["caches/x/vllm", "caches/x/vllm/torch_compile_cache", "caches/x"])
def test_a_folder_of_the_engines_cache_that_is_a_link_is_no_cache(host: Path, swapped: str) -> None:
    """Root's own cache of the same shape, for example: what is in it is none of the engine's."""
    root = host / "of-root"
    (host / swapped).rename(root)
    (host / swapped).symlink_to(root)
    at = (host / "root", "x", host / "engine", host / "v1")
    assert compile_cache.save(*at).bytes == 0
    assert compile_cache.state(*at).saved is None


def test_a_fifo_in_the_engines_cache_hangs_nobody_and_is_not_kept(host: Path) -> None:
    folder = host / "caches/x/vllm/torch_compile_cache/abc"
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(folder / "fifo")
    at = (host / "root", "x", host / "engine", host / "v1")
    saved = compile_cache.save(*at)
    assert saved.bytes == 8000
    assert sorted(path.name for path in (host / "root/_compiled/x" / saved.key).rglob("*") if path.is_file()) == [
        "model"
    ]
