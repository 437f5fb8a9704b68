"""One cause and its consequences: told once, where it is, whoever else sees something of it."""

from __future__ import annotations

from datetime import date

import pytest

from steelyard.api.finding import Finding, thing
from steelyard.drift.causes import fold
from steelyard.drift.report import apply_exceptions
from steelyard.modules.facts.haproxy import ProxyDeath, parse_death
from steelyard.render.text import finding_lines

FRONT = Finding(
    "gpu-1", "vllm.run-the-front", "steelyard-front.service", "active", "failed", "steelyard apply -l gpu-1"
)
WHY = Finding(
    "gpu-1",
    "vllm.front-runs",
    "HAProxy of steelyard-front.service",
    "runs",
    "port 8010 is taken by `python3` (pid 7)",
    "stop it",
    explains=(FRONT.thing,),
)
SEEN = Finding(
    "gw-1",
    "gateway.see-the-services-give-tokens",
    "alias-pair/gpu-1",
    "UP",
    "DOWN",
    "steelyard apply -l gw-1",
    depends_on=(thing("gw-1", "haproxy.service"), thing("gpu-1"), FRONT.thing),
)
OTHER = SEEN._replace(
    subject="alias-pair/gpu-2", depends_on=(thing("gpu-2"), thing("gpu-2", "steelyard-front.service"))
)


def because(*findings: Finding, silent: tuple[str, ...] = ()) -> tuple[list[str], dict[str, str]]:
    folded = fold(findings, silent)
    causes = [finding.subject for finding in folded.causes]
    return causes, {entry.finding.subject: entry.because_of for entry in folded.consequences}


def test_what_a_gateway_sees_of_a_dead_front_is_told_at_the_front() -> None:
    assert because(FRONT, SEEN, OTHER) == ([FRONT.subject, OTHER.subject], {SEEN.subject: FRONT.id})


def test_who_knows_why_is_the_cause_of_what_only_is_and_of_all_that_follows() -> None:
    for order in ([FRONT, WHY, SEEN], [SEEN, WHY, FRONT]):
        causes, consequences = because(*order)
        assert causes == [WHY.subject]
        assert consequences == {FRONT.subject: WHY.id, SEEN.subject: WHY.id}


def test_a_host_that_is_silent_is_a_cause_without_a_finding() -> None:
    assert because(SEEN, silent=("gpu-1",)) == ([], {SEEN.subject: "gpu-1"})


def test_nothing_is_hidden_where_its_cause_was_not_looked_at() -> None:
    assert because(SEEN, OTHER) == ([SEEN.subject, OTHER.subject], {})


def test_the_first_cause_that_is_named_counts() -> None:
    gateway = Finding("gw-1", "gateway.run-the-gateway", "haproxy.service", "active", "inactive", "apply")
    assert because(gateway, FRONT, SEEN)[1] == {SEEN.subject: gateway.id}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_findings_that_name_each_other_leave_one_to_be_told(size: int) -> None:
    names = [f"h{number}" for number in range(size)]
    ring = [
        Finding(name, "r.c", "x", "d", "l", "f", depends_on=(thing(names[(number + 1) % size], "x"),))
        for number, name in enumerate(names)
    ]
    folded = fold(ring)
    assert [finding.host for finding in folded.causes] == ["h0"]
    assert {entry.because_of for entry in folded.consequences} <= {"h0:r:x"}


def test_whoever_accepts_a_cause_accepts_what_comes_of_it() -> None:
    from steelyard.drift.exceptions import DeclaredException, DriftException

    entry = DriftException(id="gpu-1:vllm:*", reason="moved", owner="anna", expires=date(2026, 12, 1))
    report = apply_exceptions([FRONT, SEEN], [DeclaredException(entry, "f:1")], date(2026, 11, 1))
    assert (report.findings, len(report.excepted), len(report.consequences)) == ((), 1, 1)


def test_lines_tell_what_a_cause_leads_to_below_its_fix() -> None:
    report = apply_exceptions([FRONT, WHY, SEEN], (), date(2026, 11, 1))
    lines = finding_lines(report.findings, consequences_of=report.consequences_of)
    assert lines[-2:] == [
        "    fix: stop it",
        "    because of it: gpu-1: steelyard-front.service (failed); gw-1: alias-pair/gpu-1 (DOWN)",
    ]
    many = [SEEN._replace(subject=f"alias-{number}/gpu-1") for number in range(20)]
    report = apply_exceptions([FRONT, *many], (), date(2026, 11, 1))
    assert finding_lines(report.findings, consequences_of=report.consequences_of)[-1].endswith("; and 15 more")


# What HAProxy 2.6 and 3.0 said on a host, and the sockets as `ss` prints them
PARSING = "check=[ALERT]    (71) : config : parsing [/etc/steelyard/front.cfg:12] : unknown keyword 'bnd' in 'frontend'"
BIND = "log=[ALERT]    (71) : Binding [/etc/steelyard/front.cfg:31] for frontend tcp-pair: protocol tcpv4: cannot bind socket (Address already in use) for [0.0.0.0:8010]"  # noqa: E501
OLD_BIND = "log=[ALERT] (9) : Starting frontend tcp-pair: cannot bind socket (Address already in use) [0.0.0.0:8010]"
SOCKET = 'socket=LISTEN 0 5 0.0.0.0:8010 0.0.0.0:* users:(("python3",pid=812,fd=3))'
OTHERS = 'socket=LISTEN 0 5 0.0.0.0:80100 0.0.0.0:8010 users:(("nginx",pid=1,fd=3))'


@pytest.mark.parametrize(
    ("lines", "why", "fix"),
    [
        (["result=exit-code", PARSING, BIND], "/etc/steelyard/front.cfg:12: unknown keyword 'bnd'", "writes the file"),
        (
            ["result=exit-code", BIND, OTHERS, SOCKET],
            "port 8010 is taken by `python3` (pid 812)",
            "systemctl status 812",
        ),
        (["result=exit-code", OLD_BIND, OTHERS], "port 8010 was taken by another process", "ss -Hltnp"),
        (["result=exit-code", "log=[ALERT] (9) : cannot find user id for 'x'"], "cannot find user id", "mend what"),
    ],
)
def test_a_proxy_that_died_says_why(lines: list[str], why: str, fix: str) -> None:
    death = parse_death(lines)
    assert isinstance(death, ProxyDeath)
    assert why in death.why
    assert fix in death.fix


@pytest.mark.parametrize("lines", [["result=success", BIND], ["result=signal", "log=Killed"], ["result="]])
def test_nothing_is_made_up_where_a_proxy_was_stopped_or_said_nothing(lines: list[str]) -> None:
    assert parse_death(lines) is None
