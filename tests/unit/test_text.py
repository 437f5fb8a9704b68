"""What people read: hosts that say the same are one entry, and four kinds of trouble are four words."""

from __future__ import annotations

from steelyard.change import Change
from steelyard.engine.plan import HostPlan, Plan, task_of
from steelyard.errors import FactFailed, HostUnreachable
from steelyard.finding import Finding
from steelyard.render.text import error_lines, finding_lines, hosts_named, plan_lines, summary
from steelyard.unknowns import Unknown

CHANGE = Change("chmod 0644 /x", subject="/x", declared="0644", live="0600")
TASK = task_of({"base | Set the mode"}, [CHANGE])


def test_many_hosts_are_counted_and_the_first_and_last_named() -> None:
    names = [f"gpu-{number}" for number in range(1, 19)]
    assert hosts_named(["gpu-1"]) == "gpu-1"
    assert hosts_named(names) == "18 hosts (gpu-1, gpu-2, gpu-3, gpu-4, gpu-5, ... gpu-18)"
    assert hosts_named(names, verbose=True).count("gpu-") == 18


def test_hosts_with_the_same_plan_are_one_entry() -> None:
    unknown = [Unknown(name, "wheels", "the mirror is not there", "apply") for name in ("a", "b")]
    plan = Plan((HostPlan("a", (TASK,), 1, (unknown[0],)), HostPlan("b", (TASK,), 5, (unknown[1],)), HostPlan("c", (), 6)))
    assert plan_lines(plan) == [
        "2 hosts (a, b): base | Set the mode",
        "    chmod 0644 /x  [0600 -> 0644]",
        "2 hosts (a, b): unknown: wheels: the mirror is not there; settled by apply",
    ]


def test_the_same_finding_on_several_hosts_is_one_entry() -> None:
    findings = [Finding(name, "base.x", "/x", "a", "b", f"steelyard apply -l {name}") for name in ("h1", "h2")]
    assert finding_lines(findings)[0] == "2 hosts (h1, h2): differs: /x  (base.x)"
    assert finding_lines(findings)[2] == "    fix: steelyard apply -l h1,h2"
    assert len(finding_lines(findings)) == 3


def test_errors_from_many_hosts_are_one_message() -> None:
    failed = [(HostUnreachable(where=f"gpu-{n}", why="refused", address=f"10.0.0.{n}"), ()) for n in range(12)]
    other = (FactFailed(where="gw-1", fact="`x`", why="boom"), ("last", "words"))
    lines = error_lines([*failed, other])
    assert lines[0] == "error: 12 hosts (gpu-0, gpu-1, gpu-2, gpu-3, gpu-4, ... gpu-11): unreachable: refused"
    assert lines[1].startswith("  fix, for gpu-0: ")
    assert lines[2:5] == ["gw-1: | last", "gw-1: | words", "error: gw-1: cannot read `x`: boom"]


def test_unreachable_failed_skipped_and_unknown_are_four_things() -> None:
    plan = Plan(
        (
            HostPlan("u", (), 0, error=HostUnreachable(where="u", why="x", address="y")),
            HostPlan("f", (TASK,), 0, error=FactFailed(where="f", fact="x", why="y")),
            HostPlan("s", (), 0, skipped=True),
            HostPlan("k", (), 0, (Unknown("k", "w", "b", "s"),)),
        )
    )
    assert [str(host.outcome) for host in plan.hosts] == ["unreachable", "failed", "skipped", "unknown"]
    assert summary(plan, "changed") == "1 task changed on 1 host of 4; 1 unknown; unreachable: u; failed: f; skipped: s"
