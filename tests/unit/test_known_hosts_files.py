"""Several files of known keys in one option: a key in any of them is known, and one that leaves is taken out of all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.doctor.host_keys import OfferedKey, missing_keys, record
from steelyard.inventory import known_hosts
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.inventory.known_hosts import KnownHostsFile, KnownKeys, _names
from steelyard.modules.connectors.ssh_settings import SshSettings
from steelyard.workflows.controller_records import forget_host

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHcXY8wCGzD7Fyd0TtsSRSSdiSBSCqy2Zl2TdCdAmSAm"


def fleet(first: Path, second: Path) -> Fleet:
    option = f"-o 'UserKnownHostsFile {first} \"{second}\"'"
    hosts = tuple(
        FleetHost(name, (), {"ansible_host": address, "ansible_ssh_common_args": option})
        for name, address in (("g1", "10.0.0.1"), ("g2", "ops@10.0.0.2"), ("g3", "10.0.0.3"))
    )
    return Fleet(Path("hosts.yml"), hosts, {})


def test_a_key_in_any_of_several_files_is_recorded(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "the second"
    first.write_text(f"10.0.0.1 {KEY}\n")
    second.write_text(f"10.0.0.2 {KEY}\n")
    [missing] = missing_keys(fleet(first, second))
    assert (missing.host, missing.address, missing.known_hosts) == ("g3", "10.0.0.3", first)


def test_a_host_that_leaves_is_taken_out_of_all_of_them(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "the second"
    for file in (first, second):
        file.write_text(f"10.0.0.1 {KEY}\n10.0.0.2,10.0.0.3 {KEY}\n")
    forgotten = forget_host(tmp_path, fleet(first, second).host("g2"))
    assert forgotten == (str(first), str(second))
    assert [file.read_text() for file in (first, second)] == [f"10.0.0.1 {KEY}\n10.0.0.3 {KEY}\n"] * 2


def test_a_key_is_recorded_where_connections_look_whatever_home_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    one = Fleet(Path("hosts.yml"), (FleetHost("g1", (), {"ansible_host": "192.0.2.1"}),), {})
    [place] = missing_keys(one)
    assert place.known_hosts == tmp_path / ".ssh/known_hosts"
    record([OfferedKey(place, "ssh-ed25519", f"{place.name} {KEY}")])
    assert missing_keys(one) == []
    assert KnownKeys("192.0.2.1", SshSettings("192.0.2.1", "", {}).known_hosts)


PATTERNS = ["gpu-1", "GPU-2", "[gpu-1]:2222", "gpu-*", "!gpu-3,gpu-*", "gpu-?,gpu-1", "|1|c2FsdA==|bm90aGluZw==", "[h*"]
LINES = st.tuples(st.sampled_from(["", "@revoked ", "@cert-authority ", "# "]), st.sampled_from(PATTERNS))


@given(st.lists(LINES, max_size=8), st.lists(LINES, max_size=4), st.booleans())
def test_lines_of_a_name_are_those_that_ssh_would_take(
    first: list[tuple[str, str]], then: list[tuple[str, str]], ends: bool
) -> None:
    """By name, whatever is appended to a file that was read before."""

    def text(lines: list[tuple[str, str]]) -> str:
        return "".join(f"{mark}{patterns} {KEY}\n" for mark, patterns in lines)

    before, after = text(first), text(first) + text(then)
    file = KnownHostsFile()
    file.read((before if ends else before.removesuffix("\n")).encode())
    file.read(after.encode())
    for name in ("gpu-1", "gpu-2", "gpu-3", "[gpu-1]:2222", "[h*", "other"):
        meant = [
            (mark.strip(), patterns) for mark, patterns in [*first, *then] if mark != "# " and _names(patterns, name)
        ]
        assert [(line.mark, line.patterns) for line in file.lines(name)] == meant


def test_a_file_is_read_once_and_again_where_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = tmp_path / "known"
    known.write_text("".join(f"10.0.0.{number} {KEY}\n" for number in range(200)))
    read: list[int] = []
    taken = known_hosts._fields

    def counted(text: str) -> Iterator[tuple[str, str, str]]:
        read.append(text.count("\n"))
        return taken(text)

    monkeypatch.setattr(known_hosts, "_fields", counted)
    assert all(KnownKeys(f"10.0.0.{number}", [str(known)]) for number in range(200))
    assert not KnownKeys("10.0.1.1", [str(known)])
    with known.open("a") as appended:
        appended.write(f"10.0.1.1 {KEY}\n")
    assert KnownKeys("10.0.1.1", [str(known)])
    known.write_text(f"10.0.1.2 {KEY}\n")
    assert not KnownKeys("10.0.0.1", [str(known)])
    assert KnownKeys("10.0.1.2", [str(known)])
    known.unlink()
    assert not KnownKeys("10.0.1.2", [str(known)])
    assert read == [200, 1, 1]
