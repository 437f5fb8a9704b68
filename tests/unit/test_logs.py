"""Whose journals a name means, what is asked of a host, and how entries are shown."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_settings import MODELS, fleet_with

from steelyard.errors import FactFailed, TargetUnknown
from steelyard.inventory.ansible import read_ansible
from steelyard.render.logs import escaped, log_lines
from steelyard.site.resolve import site_of
from steelyard.site.site import Site
from steelyard.workflows.log_targets import known_targets, units_by_host
from steelyard.workflows.read_logs import LogEntry, LogRequest, entry_of, journal_command


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return site_of(read_ansible(fleet_with(tmp_path, MODELS)))


def test_every_known_target_has_units_and_another_is_refused_with_the_nearest(site: Site) -> None:
    assert known_targets(site)
    for target in known_targets(site):
        units_by_host(site, [target])
    with pytest.raises(TargetUnknown) as caught:
        units_by_host(site, [known_targets(site)[0] + "x"])
    assert known_targets(site)[0] in caught.value.nearest


def test_an_alias_means_its_engines_and_their_seconds_and_a_kind_limits_it(site: Site) -> None:
    [service] = [entry for entry in site.services if entry.alias][:1]
    assert service.alias
    units = units_by_host(site, [service.alias])[service.host]
    assert units[:2] == (service.unit, service.unit.replace(service.name, f"{service.name}--surge"))
    assert units_by_host(site, [service.alias], ["front"])[service.host] == ("steelyard-front.service",)
    whole = units_by_host(site, [service.host])[service.host]
    assert {*units, "steelyard-front.service", f"steelyard-watch@{service.name}.service"} <= {*whole}
    assert units_by_host(site, [service.alias, service.alias]) == units_by_host(site, [service.alias])


def test_a_reader_behind_a_cursor_asks_for_what_came_after_it() -> None:
    request = LogRequest({"h": ("x.service",)}, 20, None, follow=True)
    first = journal_command(("x.service",), request).get_raw_value()
    again = journal_command(("x.service",), request, "s=1;i=2").get_raw_value()
    assert "-n 20" in first
    assert "'--after-cursor=s=1;i=2'" in again
    assert "-n 20" not in again
    since = journal_command(("x.service",), request._replace(since="-1h; rm -rf /", follow=False)).get_raw_value()
    assert "-n all --since '-1h; rm -rf /'" in since


def test_a_followed_reader_ends_with_its_input_and_leaves_nobody_behind(tmp_path: Path) -> None:
    """The very command by a real shell, with a journalctl that never says anything and never ends by itself."""
    journalctl = tmp_path / "journalctl"
    journalctl.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 1000\n")
    journalctl.chmod(0o755)
    command = journal_command(("x",), LogRequest({}, 1, None, follow=True)).get_raw_value()
    script = f"PATH={tmp_path}:$PATH; export PATH; {command}"
    reader = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdin is not None
    assert reader.stdout is not None
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert reader.poll() is None
    reader.stdin.close()
    assert reader.stdout.read() == b""  # its end, and that of all that could write
    reader.wait()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("ready", "ready"),
        ([27, 91, 51, 49, 109, 120], "\x1b[31mx"),
        ([255], "\ufffd"),
        (None, "(too long to be shown)"),
    ],
)
def test_a_message_is_text_whatever_the_journal_made_of_it(message: object, text: str) -> None:
    assert entry_of("h", {"MESSAGE": message, "__REALTIME_TIMESTAMP": "5", "UNIT": "x.service"}).text == text


@pytest.mark.parametrize("document", [{"error": "Failed to parse timestamp: soon"}, []])
def test_what_a_reader_says_at_its_end_is_the_reason(document: object) -> None:
    with pytest.raises(FactFailed):
        entry_of("h", document)


def test_an_entry_has_a_head_on_each_line_and_nothing_that_a_terminal_obeys() -> None:
    entry = LogEntry(1796055901065553, "gpu-1", "steelyard-vllm@tiny.service", "one\x1b[31m\n\x07two\x1b]0;title\x07")
    lines = log_lines(entry, 6, coloured=False)
    assert [line.split(" ", 1)[1] for line in lines] == ["gpu-1  vllm@tiny: one", "gpu-1  vllm@tiny: \\x07two"]
    assert "\x1b[" in log_lines(entry, 6, coloured=True)[0]


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not {letter for letter in escaped(text) if ord(letter) < 32 or 127 <= ord(letter) < 160}
