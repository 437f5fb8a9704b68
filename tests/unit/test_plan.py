"""Plans as values: reasons, diffs, findings; nothing secret passes."""

from __future__ import annotations

import pytest
from support.keyboard import typed

from steelyard.api.change import Change, FileWrite, Refusal
from steelyard.api.finding import Finding, Verdict
from steelyard.api.unknown import Unknown
from steelyard.engine.plan import HostPlan, Plan, shown_command, task_of
from steelyard.errors import Exit, HostUnreachable
from steelyard.render.redaction import MASK, Redactor
from steelyard.render.screen import Screen


def write(before: bytes | None, content: bytes, secret: bool = False) -> FileWrite:
    return FileWrite(
        "/etc/x", content, mode="0644", user="root", group="root", live="another content", before=before, secret=secret
    )


def plan_of(*commands: object, unknown: tuple[Unknown, ...] = ()) -> Plan:
    tasks = (task_of({"gateway | Configure the gateway"}, commands),) if commands else ()
    return Plan((HostPlan("gw-1", tasks, 3, unknown),))


def test_finding_of_a_changed_file_names_the_first_line_that_differs() -> None:
    [finding] = plan_of(write(b"a\nmaxconn 20\nz\n", b"a\nmaxconn 2000\nz\n")).findings("steelyard apply -l {host}")
    assert finding == Finding(
        "gw-1", "gateway.configure-the-gateway", "/etc/x", "`maxconn 2000`", "`maxconn 20`", "steelyard apply -l gw-1"
    )


def test_secret_content_is_in_no_part_of_a_plan() -> None:
    command = shown_command(write(b"old-secret", b"new-secret", secret=True))
    assert "secret" not in repr(command).replace("secret content", "")
    assert command.diff == ()


def test_one_thing_is_one_finding() -> None:
    stop = Change("start x", subject="x.service", declared="active", live="failed")
    again = Change("reload x", subject="x.service", declared="loaded", live="not loaded")
    assert len(plan_of(stop, again).findings("f")) == 1


def test_refusal_is_broken_and_not_a_change_that_apply_would_mend() -> None:
    [finding] = plan_of(Refusal("no room")).findings("f")
    assert (finding.verdict, finding.live) == (Verdict.BROKEN, "no room")


def test_fingerprint_is_of_host_code_and_subject_only() -> None:
    one = Finding("h", "c", "s", "a", "b", "f")
    assert one.fingerprint == Finding("h", "c", "s", "other", "words", "g").fingerprint
    assert one.fingerprint != Finding("h", "c", "t", "a", "b", "f").fingerprint


def test_exit_codes_say_what_was_found() -> None:
    unknown = Unknown("gw-1", "wheels", "the mirror is not there", "apply")
    failed = HostPlan("g", (), 0, error=HostUnreachable(where="g", why="x", address="y"))
    assert plan_of().exit == Exit.DONE
    assert plan_of(write(None, b"")).exit == Exit.CHANGES
    assert plan_of(unknown=(unknown,)).exit == Exit.CHANGES
    assert Plan((*plan_of(write(None, b"")).hosts, failed)).exit == Exit.HOST_FAILED


def test_redactor_leaves_no_rest_of_a_longer_secret() -> None:
    assert Redactor(["token", "token-long", "abc"]).mask("x token-long token abc") == f"x {MASK} {MASK} abc"


@pytest.mark.parametrize(
    ("answer", "meant"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("\x04", False)]
)
def test_only_a_yes_is_a_yes(monkeypatch: pytest.MonkeyPatch, answer: str, meant: bool) -> None:
    typed(monkeypatch, answer)
    assert Screen().confirm("Apply 1 change?") is meant
