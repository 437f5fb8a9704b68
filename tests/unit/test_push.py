"""A push between real helpers over real TLS on this machine: what goes wrong between hosts costs nobody else his
version.
"""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar

import gevent
import pytest
from push_fleet import PROJECT, SIZE, Fleet

from steelyard.lab.simulated.slow_link import LocalRelay
from steelyard.models.content.manifest import Manifest
from steelyard.models.distribution.push import Push
from steelyard.models.distribution.push_key import PushKey
from steelyard.models.sources.resolve import read_manifest
from steelyard.modules.operations.store import adopt
from steelyard_host.errors import HelperError
from steelyard_host.store import publish
from steelyard_host.store.hashing import NoHashLibrary
from steelyard_host.store.relay import LIES, Relay
from steelyard_host.store.verify import verify
from steelyard_host.wire.relay import Ready, ReceiveCommand, relay_event

Said = TypeVar("Said")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_the_origin_is_read_once_and_every_host_has_every_byte(fleet: Fleet) -> None:
    source = fleet.source()
    manifest, pushed = fleet.push(source)
    assert (sorted(pushed.published), pushed.errors) == (fleet.names, {})
    assert all(fleet.holds(name, source) for name in fleet.names)
    assert pushed.origin_bytes <= 1.01 * manifest.size + 6 * (64 << 10), (
        "a probe of two chunks to three hosts that were not first"
    )
    assert oct((fleet.root("h0") / PROJECT / "v1/model.safetensors").stat().st_mode & 0o777) == "0o444"
    assert all(talk.process.poll() is not None for talk in fleet.talks.values()), "nothing runs on after a push"


def test_a_second_push_sends_nothing(fleet: Fleet) -> None:
    source = fleet.source()
    fleet.push(source)
    _, pushed = fleet.push(source)
    assert (sorted(pushed.published), pushed.origin_bytes, sum(pushed.received.values())) == (fleet.names, 0, 0)


def test_an_update_sends_the_changed_tensors_only_wherever_they_lie(fleet: Fleet) -> None:
    fleet.push(fleet.source(tensors=12))
    for version, source in (("v2", fleet.source("two", 12, changed=(3,))), ("v3", fleet.source("three", 12, extra=1))):
        manifest, pushed = fleet.push(source, version)
        assert all(fleet.holds(name, source, version) for name in fleet.names)
        assert max(pushed.received.values()) <= 0.1 * manifest.size
        assert pushed.origin_bytes <= 0.1 * manifest.size


def test_a_host_that_dies_costs_the_others_nothing_and_takes_up_where_it_was(fleet: Fleet) -> None:
    source = fleet.source()

    def kill() -> None:
        fleet.until_had("h1", SIZE // 3)
        fleet.talks["h1"].kill()

    manifest, pushed = fleet.push(source, rate=3 << 20, meanwhile=kill)
    assert sorted(pushed.published) == ["h0", "h2", "h3"]
    assert list(pushed.errors) == ["h1"]
    assert not (fleet.root("h1") / PROJECT).exists(), "nothing half-written is visible"
    before = fleet.had("h1")
    _, again = fleet.push(source)
    assert fleet.holds("h1", source)
    assert SIZE // 3 <= before <= manifest.size - again.received["h1"] + 0.02 * manifest.size
    assert again.received["h2"] == 0


def test_a_host_that_hangs_is_passed_by_and_finishes_when_it_wakes(fleet: Fleet) -> None:
    """A machine that swaps, a link that is cut for a while: nothing ends, and nothing comes."""
    source = fleet.source()
    order: list[str] = []

    def hang() -> None:
        fleet.until_had("h1", SIZE // 4)
        os.killpg(fleet.talks["h1"].process.pid, signal.SIGSTOP)
        while any(fleet.had(name) < SIZE for name in ("h0", "h2", "h3")):
            gevent.sleep(0.1)
        order.append("the others have it")
        os.killpg(fleet.talks["h1"].process.pid, signal.SIGCONT)

    _, pushed = fleet.push(source, rate=1 << 20, meanwhile=hang)
    assert (sorted(pushed.published), pushed.errors) == (fleet.names, {})
    assert order and pushed.published[-1] == "h1"
    assert any("h1 is slow: h2 no longer waits for it" in text for text in pushed.relinked)
    assert all(fleet.holds(name, source) for name in fleet.names)


def test_the_head_dies_and_the_next_is_fed(fleet: Fleet) -> None:
    source = fleet.source()

    def kill() -> None:
        fleet.until_had("h0", SIZE // 3)
        fleet.talks["h0"].kill()

    _, pushed = fleet.push(source, rate=3 << 20, meanwhile=kill)
    assert sorted(pushed.published) == ["h1", "h2", "h3"]
    assert all(fleet.holds(name, source) for name in pushed.published)


def rot(path: Path, at: int) -> None:
    """Other bytes under the same size, time and mode: what a bad disk does."""
    stat = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(b"rot")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    path.chmod(stat.st_mode & 0o7777)


def test_a_peer_that_lies_is_named_and_no_byte_of_it_is_kept(fleet: Fleet) -> None:
    """h1 says it has everything, and its disk gives other bytes: h2 refuses them, and takes from h0 instead."""
    source = fleet.source()
    everyone, fleet.names = fleet.names, ["h0", "h1"]
    fleet.push(source)
    rot(fleet.root("h1") / PROJECT / "v1/model.safetensors", SIZE // 2)
    fleet.names = everyone
    _, pushed = fleet.push(source)
    assert all(fleet.holds(name, source) for name in ("h0", "h2", "h3"))
    assert sum("h2: chunk" in text and "came corrupted from h1" in text for text in pushed.relinked) == LIES
    assert any("h2 could not take from h1" in text for text in pushed.relinked)
    assert pushed.origin_bytes == 0


def test_hosts_that_come_later_take_it_from_those_that_are_there(fleet: Fleet) -> None:
    """As in an apply: each host reaches the step at its own pace."""
    source = fleet.source()
    manifest = read_manifest(PROJECT, f"file://{source}", "models.yml")
    talks = fleet.talks = {name: LocalRelay(fleet.root(name), PROJECT, "v1") for name in fleet.names}
    push = Push(manifest, source, {"h0": "127.0.0.1"}, {}, 3 << 20, fleet.events.append)
    running = gevent.spawn(push.run, {"h0": talks["h0"]})
    fleet.until_had("h0", SIZE // 4)
    push.join("h1", talks["h1"], "127.0.0.1", "")
    fleet.until_had("h0", SIZE // 2)
    push.join("h2", talks["h2"], "127.0.0.1", "")
    push.join("h3", talks["h3"], "127.0.0.1", "")
    talks["h3"].kill()
    assert [push.wait(name) for name in ("h0", "h1", "h2")] == [None, None, None]
    assert push.wait("h3") is not None
    push.wait("h0", over=True)
    pushed = running.get()
    assert (sorted(pushed.published), pushed.origin_bytes) == (["h0", "h1", "h2"], manifest.size)
    assert all(fleet.holds(name, source) for name in pushed.published)
    assert push.closing


def test_thousands_of_small_files_and_empty_ones_arrive(fleet: Fleet) -> None:
    source = fleet.home / "many"
    (source / "deep/er").mkdir(parents=True)
    for number in range(3000):
        (source / ("deep/er" if number % 2 else "") / f"{number}.txt").write_bytes(str(number).encode() * (number % 3))
    fleet.names = ["h0", "h1"]
    manifest, pushed = fleet.push(source)
    assert sorted(pushed.published) == fleet.names
    for name in fleet.names:
        folder = fleet.root(name) / PROJECT / "v1"
        assert all((folder / file).read_bytes() == (source / file).read_bytes() for file in manifest.files)


class Closed(dict[str, int]):
    """Ports behind a firewall: nobody answers there."""

    def __getitem__(self, name: str) -> int:
        return 9


def test_hosts_that_cannot_reach_each_other_are_fed_from_here(fleet: Fleet) -> None:
    source = fleet.source()
    manifest = read_manifest(PROJECT, f"file://{source}", "models.yml")
    fleet.talks = {name: LocalRelay(fleet.root(name), PROJECT, "v1") for name in fleet.names}
    push = Push(manifest, source, dict.fromkeys(fleet.names, "127.0.0.1"), {}, None, fleet.events.append)
    push.ports = Closed()
    pushed = push.run(fleet.talks)
    assert (sorted(pushed.published), pushed.errors) == (fleet.names, {})
    assert all(fleet.holds(name, source) for name in fleet.names)
    assert any("it takes from this machine" in text for text in pushed.relinked)


def test_a_source_that_changed_since_it_was_read_is_told(fleet: Fleet) -> None:
    source = fleet.source()
    manifest = read_manifest(PROJECT, f"file://{source}", "models.yml")
    rot(source / "model.safetensors", SIZE // 2)
    _, pushed = fleet.push(source)
    assert pushed.published == []
    assert "is not what it was when the source was read" in str(pushed.errors["h0"])
    assert manifest.id == pushed.manifest
    assert not any((fleet.root(name) / PROJECT).exists() for name in fleet.names)


def test_a_source_that_goes_away_is_told_as_that(fleet: Fleet) -> None:
    source = fleet.source()

    def remove() -> None:
        fleet.until_had("h0", SIZE // 4)
        (source / "model.safetensors").unlink()

    _, pushed = fleet.push(source, rate=2 << 20, meanwhile=remove)
    assert pushed.published == []
    assert "model.safetensors of the source can no longer be read" in str(pushed.errors["h0"])


def test_a_host_that_never_wakes_is_given_up_on(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from steelyard.models.distribution import push

    monkeypatch.setattr(push, "SILENT_S", 3)
    source = fleet.source()

    def hang() -> None:
        fleet.until_had("h3", SIZE // 4)
        os.killpg(fleet.talks["h3"].process.pid, signal.SIGSTOP)
        gevent.sleep(8)
        fleet.talks["h3"].kill()

    _, pushed = fleet.push(source, rate=4 << 20, meanwhile=hang)
    assert sorted(pushed.published) == ["h0", "h1", "h2"]
    assert "said nothing for 3 s" in str(pushed.errors["h3"])


def test_two_pushes_of_one_version_do_not_meet(fleet: Fleet) -> None:
    source = fleet.source()
    with publish.receiving(fleet.root("h2"), PROJECT, "v1"):
        _, pushed = fleet.push(source)
    assert sorted(pushed.published) == ["h0", "h1", "h3"]
    assert "is being received here already" in str(pushed.errors["h2"])


def test_a_controller_that_is_killed_leaves_nothing_visible_and_no_process(fleet: Fleet) -> None:
    source = fleet.source()

    def cut() -> None:
        fleet.until_had("h3", SIZE // 3)
        for talk in reversed(fleet.talks.values()):  # the head last: a feeder may be writing to it
            talk.process.stdin.close()

    _, pushed = fleet.push(source, rate=1 << 20, meanwhile=cut)
    assert (pushed.published, sorted(pushed.errors)) == ([], fleet.names)
    assert all(talk.process.wait() is not None for talk in fleet.talks.values())
    assert not any((fleet.root(name) / PROJECT).exists() for name in fleet.names)
    _, again = fleet.push(source)
    assert all(fleet.holds(name, source) for name in fleet.names)
    assert again.received["h0"] < SIZE * 0.8


def test_a_name_that_leaves_the_folder_is_refused_by_the_host(fleet: Fleet, tmp_path: Path) -> None:
    source = fleet.source()
    manifest = read_manifest(PROJECT, f"file://{source}", "models.yml")
    evil = Manifest.of({"../../../evil": manifest.files["config.json"]}, {})
    fleet.talks = {"h0": LocalRelay(fleet.root("h0"), PROJECT, "v1")}
    pushed = Push(evil, source, {"h0": "127.0.0.1"}, {}, None, fleet.events.append).run(fleet.talks)
    assert "leaves the version's folder" in str(pushed.errors["h0"])
    assert not (tmp_path / "evil").exists()


class EndsEarly:
    """A talk whose helper ends after `ready`: what is written to it fails at once, and its last words come a moment
    later.
    """

    def __init__(self, ready: bool) -> None:
        self.sent, self._ready, self._orders = 0, ready, 0

    def send_command(self, command: NamedTuple) -> None:
        self._orders += 1
        if self._orders > 1 or not self._ready:
            raise OSError("Socket is closed")

    def chunk(self, number: int, data: bytes) -> None:
        raise OSError("Socket is closed")

    def events(self, read: Callable[[object], Said]) -> Iterator[Said]:
        if self._ready:
            yield read({"ready": 1, "missing": [[0, 0]], "bytes": 0})
        gevent.sleep(0.2)
        yield read({"error": "blake3.so is not there"})

    def close(self) -> None:
        pass


@pytest.mark.parametrize("ready", [True, False], ids=["after it was ready", "before it read an order"])
def test_a_helper_that_ends_is_told_by_its_last_words_not_by_the_broken_link(fleet: Fleet, ready: bool) -> None:
    source = fleet.source()
    manifest = read_manifest(PROJECT, f"file://{source}", "models.yml")
    pushed = Push(manifest, source, {"h0": "127.0.0.1"}, {}, None, fleet.events.append).run({"h0": EndsEarly(ready)})
    assert "blake3.so is not there" in str(pushed.errors["h0"])


def test_an_adoption_is_told_by_the_helpers_last_words_too(fleet: Fleet) -> None:
    host: Any = SimpleNamespace(connector=SimpleNamespace(open_stream=lambda command: EndsEarly(ready=False)))
    manifest = read_manifest(PROJECT, f"file://{fleet.source()}", "models.yml")
    assert adopt(host, "/models", PROJECT, "v1", "/nas/x", manifest) == "blake3.so is not there"


def test_whoever_has_another_key_gets_nothing(fleet: Fleet) -> None:
    """A successor with a key of its own: TLS refuses it before a byte of the version is sent."""
    import socket
    import ssl

    from steelyard.models.distribution.push_key import PushKey
    from steelyard_host.store.relay import tls

    source = fleet.source()
    manifest = read_manifest(PROJECT, f"file://{source}", "models.yml")
    talk = LocalRelay(fleet.root("h0"), PROJECT, "v1")
    key, other = PushKey.new(), PushKey.new()
    talk.send_command(ReceiveCommand(manifest.as_json(), key.certificate, key.key, "127.0.0.1"))
    ready = next(talk.events(relay_event))
    assert isinstance(ready, Ready)
    port = ready.ready
    for mine, trusted in ((other, key.certificate), (None, key.certificate)):
        context = tls(mine.certificate, mine.key, server=False) if mine else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=trusted)
        plain = socket.create_connection(("127.0.0.1", port), timeout=5)
        with plain, pytest.raises(OSError), context.wrap_socket(plain) as link:
            link.sendall(b"\0" * 8)
            if not link.recv(1):
                raise OSError("closed")
    talk.close()


def test_a_file_that_is_held_whole_is_linked_and_a_change_by_hand_repaired(fleet: Fleet) -> None:
    source = fleet.source()
    fleet.push(source)
    altered = fleet.root("h1") / PROJECT / "v1/model.safetensors"
    altered.chmod(0o644)
    with altered.open("r+b") as stream:
        stream.seek(100)
        stream.write(b"x")
    assert publish.state(fleet.root("h1"), PROJECT, "v1").altered == ("model.safetensors",)
    _, pushed = fleet.push(source)
    assert fleet.holds("h1", source)
    assert pushed.received["h1"] > 0
    assert publish.state(fleet.root("h1"), PROJECT, "v1").altered == ()
    second = fleet.source("second", changed=(0,))
    fleet.push(second, "v2")
    shared = [fleet.root("h1") / PROJECT / version / "config.json" for version in ("v1", "v2")]
    assert shared[0].samefile(shared[1])


def test_a_rotten_chunk_is_found_out_of_sight_and_alone_sent_again(fleet: Fleet) -> None:
    source = fleet.source()
    manifest, _ = fleet.push(source)
    rotten = fleet.root("h2") / PROJECT / "v1/model.safetensors"
    rot(rotten, SIZE // 2)
    assert publish.state(fleet.root("h2"), PROJECT, "v1").altered == (), "its stat says nothing"
    found = verify(fleet.root("h2"), PROJECT, "v1", quarantine=True)
    [(name, chunks)] = found.wrong.items()
    assert (name, len(chunks), found.bytes) == ("model.safetensors", 1, manifest.size)
    assert not rotten.exists()
    _, pushed = fleet.push(source)
    assert pushed.received["h2"] == manifest.files[name].chunks[chunks[0]].size
    assert verify(fleet.root("h2"), PROJECT, "v1", quarantine=False).wrong == {}


def fine_tuned(fleet: Fleet, source: Path) -> Path:
    """Every number of every tensor moved a little, as a full fine-tune does: no chunk is equal any more."""
    folder = fleet.home / "tuned"
    folder.mkdir()
    data = bytearray((source / "model.safetensors").read_bytes())
    start = 8 + struct.unpack("<Q", data[:8])[0]
    data[start::2] = bytes(byte ^ 1 for byte in data[start::2])
    (folder / "model.safetensors").write_bytes(data)
    (folder / "config.json").write_text("{}")
    return folder


def test_a_fine_tune_goes_as_what_changed_to_hosts_that_have_its_base(fleet: Fleet) -> None:
    source = fleet.source()
    everyone, fleet.names = fleet.names, ["h0", "h1", "h2"]
    fleet.push(source)
    tuned, fleet.names = fine_tuned(fleet, source), everyone  # h3 has no base, and gets plain chunks
    manifest, pushed = fleet.push(tuned, "v2", base=source)
    assert (sorted(pushed.published), pushed.errors) == (fleet.names, {})
    assert all(fleet.holds(name, tuned, "v2") for name in fleet.names)
    assert max(pushed.received[name] for name in ("h0", "h1", "h2")) < 0.05 * manifest.size
    assert pushed.received["h3"] >= 0.99 * manifest.size
    assert pushed.origin_bytes < 0.1 * manifest.size


def test_a_delta_to_another_base_is_refused_like_any_other_wrong_chunk(fleet: Fleet, tmp_path: Path) -> None:
    source = fleet.source()
    fleet.push(source)
    tuned = fine_tuned(fleet, source)
    rot(fleet.root("h0") / PROJECT / "v1/model.safetensors", SIZE // 2)
    _, pushed = fleet.push(tuned, "v2", base=source)
    assert all(fleet.holds(name, tuned, "v2") for name in pushed.published)
    assert any("came corrupted" in text for text in pushed.relinked)


def test_a_certificate_is_good_at_any_time_a_wrong_clock_may_show(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text(PushKey.new().certificate)
    for when in (1_000_000, 946_684_800, 4_000_000_000):
        command = ["openssl", "verify", "-attime", str(when), "-CAfile", tmp_path / "pem", tmp_path / "pem"]
        assert subprocess.run(command, capture_output=True, text=True).stdout.strip().endswith("OK"), when


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (HelperError("the folder is there already"), "the folder is there already"),
        (NoHashLibrary("no blake3"), "no blake3"),
        (KeyError("chunks"), "KeyError: 'chunks'"),
    ],
)
def test_work_of_a_helper_that_fails_is_told_and_ends_it(
    error: Exception, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that dies without a word would leave a push waiting for a helper which says that it lives."""
    ended: list[int] = []
    monkeypatch.setattr("steelyard_host.store.relay.os._exit", ended.append)

    def fails() -> None:
        raise error

    Relay(tmp_path, "llm/tiny", "v1", io.BytesIO())._told_if_it_fails(fails)
    assert json.loads(capsys.readouterr().out) == {"error": f"llm/tiny v1: {words}; nothing was published"}
    assert ended == [1]
