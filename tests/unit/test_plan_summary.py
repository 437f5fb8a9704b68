"""A plan that is read: within a screen, no host lost, the counts of the lines are those of the document."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import plans

from steelyard.api.change import Effect
from steelyard.engine.plan import HostPlan, Plan
from steelyard.engine.plan_totals import host_totals, plan_totals
from steelyard.errors.visible import one_line
from steelyard.events import SecretsKnown
from steelyard.render.documents import plan_document
from steelyard.render.plan import applied_sums, apply_question, plan_text, planned_sums
from steelyard.render.plan_details import detail_lines
from steelyard.render.plan_merged import shared_parts
from steelyard.render.plan_summary import summary_lines
from steelyard.render.redaction import MASK, Redactor
from steelyard.render.screen import Screen
from steelyard.render.width import columns

DATA = Path(__file__).parent.parent / "data/plans"
SCREEN = 60
FEW = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
GOLDEN = {
    "fresh_site": (lambda: plans.recorded(DATA / "fresh_site.json"), 100),
    "alike_500": (lambda: plans.alike(500, 200), 100),
    "mixed": (plans.mixed, 100),
    "mixed_narrow": (plans.mixed, 60),
}


def shown(plan: Plan, width: int = 100) -> list[str]:
    return [line.text for line in summary_lines(plan, one_line, width)]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_summary_is_the_golden_one(name: str) -> None:
    made, width = GOLDEN[name]
    plan = made()
    text = "\n".join([*shown(plan, width), planned_sums(plan)]) + "\n"
    path = DATA / f"{name}.txt"
    if os.environ.get("STEELYARD_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()
    assert len(text.splitlines()) <= SCREEN


@FEW
@given(plans.plans(plans.WILD), st.integers(40, 100))
def test_no_plan_is_wider_than_its_terminal_or_longer_than_a_screen(plan: Plan, width: int) -> None:
    lines = shown(plan, width)
    assert all(columns(line) <= width for line in lines)
    assert len(lines) < SCREEN
    assert not {unicodedata.category(letter) for line in lines for letter in line} & {"Cc", "Cs", "Zl", "Zp"}


@FEW
@given(plans.plans())
def test_every_change_of_every_host_is_in_a_line_or_in_a_count(plan: Plan) -> None:
    assert accounted(shown(plan)) == plan.changes


@FEW
@given(plans.plans())
def test_every_host_has_its_own_changes_in_what_is_merged(plan: Plan) -> None:
    merged: Counter[str] = Counter()
    for part in shared_parts(plan):
        for name in part.hosts:
            merged[name] += len(part.tasks)
    assert merged == Counter({host.host: len(host.tasks) for host in plan.hosts if host.tasks})


@FEW
@given(plans.plans())
def test_the_counts_of_the_last_line_are_those_of_the_document(plan: Plan) -> None:
    document = plan_document(plan, plan.exit)
    line = planned_sums(plan)
    words = ("change", "refusal", "restart", "stop", "removal")
    said = {f"{word}s": int(found[1]) if (found := re.search(rf"(\d+) {word}s?\b", line)) else 0 for word in words}
    said["unknown"] = int(found[1]) if (found := re.search(r"(\d+) unknown", line)) else 0
    totals = dict(document["totals"])
    outage_s = totals.pop("outage_s")
    assert said == totals
    assert ("not known" in line) == (outage_s is None)
    by_host = [host["totals"] for host in document["hosts"]]
    assert {name: sum(host[name] for host in by_host) for name in totals} == totals


def accounted(lines: list[str]) -> int:
    """Changes that the lines of a summary speak of, times the hosts that they speak of."""
    total = hosts = 0
    titles: set[str] = set()
    for line in lines:
        if (rest := re.match(r"and (\d+) other changes? on ", line)) is not None:
            total += int(rest[1])
            continue
        head = re.match(r"(?:(\d+) hosts \([^)]*\), each|h\d+):(.*)", line)
        if head is not None:
            hosts, titles = int(head[1] or 1), set()
            line = head[2]
        elif not line.startswith("  "):
            continue
        if (folded := re.match(r" +(?:base|vllm): (\d+) changes?[:,]", line)) is not None:
            total += int(folded[1]) * hosts
            titles.add("folded")
        elif (row := re.search(r"((?:base|vllm) \| [\w ]+):", line)) is not None and row[1] not in titles:
            titles.add(row[1])
            total += hosts * ("folded" not in titles or not line.startswith("    "))
    return total


def test_hosts_that_lack_the_same_are_told_of_once() -> None:
    lines = shown(plans.alike(3, 2))
    assert lines == [
        "3 hosts (gpu-001, gpu-002, gpu-003), each:",
        "  base | Write file 0: /etc/0: missing -> content",
        "  nvidia_driver | Write file 1: /etc/1: missing -> content",
    ]


def test_a_thing_counts_once_by_the_gravest_of_what_happens_to_it() -> None:
    totals = plan_totals(plans.mixed())
    assert (totals.restarts, totals.stops, totals.removals, totals.refusals, totals.unknown) == (3, 1, 2, 1, 2)
    assert totals.outage_s is None
    assert host_totals(plans.mixed().hosts[2]).outage_s == 40.0


def test_the_question_of_an_apply_says_what_ends_and_how_long_clients_wait() -> None:
    plan = Plan((HostPlan("gpu-1", (plans.restart("a.service", 40.0), plans.restart("b.service", 12.0)), 3),))
    assert apply_question(plan) == ("Apply 2 changes on 1 of 1 host; 2 restarts (clients wait up to 40 s)?")
    assert applied_sums(plan) == "2 tasks changed on 1 host of 1; 2 restarts"


@pytest.mark.parametrize(
    ("outage_s", "words"),
    [(0.0, "no client waits"), (0.4, "clients wait less than 1 s"), (None, "how long clients wait is not known")],
)
def test_how_long_clients_wait_is_said_beside_the_restarts(outage_s: float | None, words: str) -> None:
    plan = Plan((HostPlan("gpu-1", (plans.restart("a.service", outage_s),), 3),))
    assert planned_sums(plan) == f"plan: 1 change on 1 of 1 host; 1 restart ({words})"


def test_four_ends_of_a_host_are_four_things() -> None:
    hosts = plans.mixed().hosts
    assert planned_sums(Plan((*hosts, HostPlan("s", (), 0, skipped=True)))).endswith(
        "unreachable: gpu-6; failed: gpu-5; skipped: s"
    )


def test_no_half_of_a_secret_is_left_where_a_line_is_cut() -> None:
    secret = "s3cret-" + "x" * 60
    redactor = Redactor([secret])
    file = plans.command(f"/etc/{'long/' * 10}{secret}", f"holds {secret}")
    plan = Plan((HostPlan("gpu-1", (plans.task("base", "Write it", file),), 1),))
    for width in range(40, 101):
        text = "\n".join(line.text for line in summary_lines(plan, lambda text: one_line(redactor.mask(text)), width))
        assert "s3c" not in text
    assert MASK in text


def test_the_details_hold_every_command_and_its_mark() -> None:
    lines = detail_lines(plans.mixed())
    texts = [text for line in lines for text in line.text.split("\n")]
    assert any(
        text.startswith("    restart (clients wait up to 40 s): do steelyard-vllm@pair.service") for text in texts
    )
    commands = sum(len(task.commands) for host in plans.mixed().hosts for task in host.tasks)
    assert sum(text.startswith("    ") for text in texts) == commands
    marks = Counter(line.mark for line in lines if line.mark)
    assert marks == {"refused": 1, "restart": 3, "removal": 2, "stop": 2, "unknown": 2}
    assert {str(effect) for effect in Effect} - {"change"} < set(marks)


def test_a_saved_text_begins_with_the_summary_and_has_no_half_of_a_secret() -> None:
    screen, secret = Screen(), "s3cret-" + "x" * 90
    screen.event(SecretsKnown(frozenset({secret})))
    told = plans.task("base", "Write it", plans.command("/etc/one", f"holds {secret}"))
    plan = Plan((HostPlan("gpu-0", (told,), 1), *plans.mixed().hosts))
    lines = plan_text(screen, plan).splitlines()
    summary = [line.text for line in summary_lines(plan, screen.clean)]
    assert lines[: len(summary) + 2] == [*summary, planned_sums(plan), ""]
    assert "s3c" not in "\n".join(lines)


def test_what_hosts_have_in_common_is_looked_at_and_laid_out_once() -> None:
    """100,000 tasks of 500 hosts: what is cleaned, measured and cut grows with hosts and tasks, not with both."""
    cleaned = 0

    def clean(text: str) -> str:
        nonlocal cleaned
        cleaned += 1
        return one_line(text)

    summary_lines(plans.alike(500, 200), clean)
    assert cleaned < 500 * 4 + 200 * 4


@pytest.mark.parametrize("hosts", [20, 200])
def test_hosts_that_have_nothing_in_common_are_counted_where_they_are_not_named(hosts: int) -> None:
    lines = shown(plans.scattered(hosts))
    assert len(lines) < SCREEN
    assert accounted(lines) == 2 * hosts
    [rest] = [line for line in lines if line.startswith("and ")]
    named = len([line for line in lines if re.match(r"h\d+:", line)])
    assert f"on {hosts - named} hosts, {hosts - named} of things that restart, stop or go" in rest


def test_the_page_on_reading_a_plan_shows_a_golden_one() -> None:
    page = (DATA.parents[2] / "docs/how-it-works/plan.md").read_text()
    assert f"```text\n{(DATA / 'mixed.txt').read_text()}```" in page


def test_a_plan_in_sync_is_one_line_that_loads_nothing_for_others() -> None:
    code = (
        "import sys\nfrom steelyard.engine.plan import HostPlan, Plan\nfrom steelyard.render.plan import show_plan\n"
        "from steelyard.render.screen import Screen\nshow_plan(Screen(), Plan((HostPlan('a', (), 3),)))\n"
        "print([name for name in sys.modules if name.startswith('steelyard.render.plan_') or name == 'rich'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["plan: no changes: 1 host as declared", "[]"]


def test_a_secret_of_several_lines_is_masked_in_the_details_and_every_other_line_stays() -> None:
    secret = "-----BEGIN KEY-----\nabcdefgh\n-----END KEY-----"
    echo = plans.command("/etc/key")
    told = plans.task("base", "Write it", replace(echo, text=f"echo {secret} >x"), plans.command("/etc/other"))
    lines = detail_lines(Plan((HostPlan("gpu-1", (told,), 1),)), Redactor([secret]).mask)
    assert "\n".join(line.text for line in lines).split("\n") == [
        "gpu-1: base | Write it",
        f"    echo {MASK} >x  [missing -> content, root:root 0644]",
        "    do /etc/other  [missing -> content, root:root 0644]",
    ]
