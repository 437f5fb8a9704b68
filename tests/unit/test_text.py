"""What people read: hosts that say the same are one entry, a command as it is shown, findings and errors merged."""

from __future__ import annotations

from steelyard.api.change import Change, Refusal
from steelyard.api.finding import Finding
from steelyard.engine.plan import shown_command
from steelyard.errors import FactFailed, HostUnreachable
from steelyard.render.text import command_lines, error_lines, finding_lines, hosts_named


def test_many_hosts_are_counted_and_the_first_and_last_named() -> None:
    names = [f"gpu-{number}" for number in range(1, 19)]
    assert hosts_named(["gpu-1"]) == "gpu-1"
    assert hosts_named(names) == "18 hosts (gpu-1, gpu-2, gpu-3, gpu-4, gpu-5, ... gpu-18)"
    assert hosts_named(names, verbose=True).count("gpu-") == 18


def test_a_refusal_is_shown_to_its_end_and_a_command_is_not() -> None:
    reason = "the lock is not the declared one: " + "a" * 64 + " and " + "b" * 64 + "; bring the declared wheels"
    long = Change("echo " + "x" * 200, subject="/x", declared="", live="")
    assert command_lines(shown_command(Refusal(reason)), verbose=False) == [f"refuse: {reason}"]
    assert command_lines(shown_command(long), verbose=False) == ["echo " + "x" * 152 + "..."]


def test_the_same_finding_on_several_hosts_is_one_entry() -> None:
    findings = [Finding(name, "base.x", "/x", "a", "b", f"steelyard apply -l {name}") for name in ("h1", "h2")]
    assert finding_lines(findings)[0] == "2 hosts (h1, h2): differs: /x  (base.x)"
    assert finding_lines(findings)[2] == "    fix: steelyard apply -l h1,h2"
    assert len(finding_lines(findings)) == 3


def test_a_finding_with_several_live_values_is_one_entry_that_says_which_is_where() -> None:
    live = {"h1": "20", "h2": "30", "h3": "20", "h4": "40", "h5": "50", "h6": "60"}
    findings = [Finding(name, "base.x", "/x", "10", value, "fix it") for name, value in live.items()]
    assert finding_lines(findings[:3])[1] == "    declared: 10; live: 20 on 2 hosts (h1, h3); 30 on h2"
    assert finding_lines(findings)[1] == "    declared: 10; live: 20 on 2 hosts (h1, h3); 30 on h2; others on 3 hosts"
    assert finding_lines(findings, verbose=True)[1].endswith("30 on h2; 40 on h4; 50 on h5; 60 on h6")


def test_errors_from_many_hosts_are_one_message() -> None:
    failed = [(HostUnreachable(where=f"gpu-{n}", why="refused", address=f"10.0.0.{n}"), ()) for n in range(12)]
    other = (FactFailed(where="gw-1", fact="`x`", why="boom"), ("last", "words"))
    lines = error_lines([*failed, other])
    assert lines[0] == "error: 12 hosts (gpu-0, gpu-1, gpu-2, gpu-3, gpu-4, ... gpu-11): unreachable: refused"
    assert lines[1].startswith("  fix, for gpu-0: ")
    assert lines[2:5] == ["gw-1: | last", "gw-1: | words", "error: gw-1: cannot read `x`: boom"]
