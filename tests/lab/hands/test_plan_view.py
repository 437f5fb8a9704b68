"""A plan of real hosts is read: within a screen, marked and counted, and what hosts say is shown and not obeyed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hands_site import HandsSite
from support.lab_site import steelyard

SPOILED = r"/tmp/\x1b[31mred\u202egnp"


@pytest.fixture
def solo_undeclared(hands: HandsSite) -> Iterator[None]:
    hands.unserve("solo")
    hands.serve("pair", "gpu-1:gpu-2", 8010, options={"n_threads": 2})
    yield
    hands.serve("pair", "gpu-1:gpu-2", 8010)
    hands.serve("solo", "gpu-3", 8011)
    assert hands.changed("plan") == {}


@pytest.mark.usefixtures("solo_undeclared")
def test_what_goes_is_marked_and_the_counts_are_those_of_the_document(hands: HandsSite) -> None:
    document = hands.json("plan")
    said = steelyard("plan", "-i", str(hands.inventory))
    lines = said.stdout.splitlines()
    assert (said.returncode, document["exit"]) == (2, 2)
    assert max(map(len, lines)) <= 100
    assert len(lines) + len(said.stderr.splitlines()) <= 60
    assert [line for line in lines if re.match(r" *removal: ", line)]
    [last] = [line for line in lines if line.startswith("plan: ")]
    totals = document["totals"]
    assert last.startswith(f"plan: {document['changes']} changes on 4 of 5 hosts; ")
    assert f"{totals['removals']} removal" in " ".join(lines)
    assert totals["removals"] == sum(host["totals"]["removals"] for host in document["hosts"]) >= 1
    whole = steelyard("plan", "-i", str(hands.inventory), "-v").stdout
    assert '-  "n_threads": 1' in whole
    assert '+  "n_threads": 2' in whole
    quiet = steelyard("plan", "-i", str(hands.inventory), "-q")
    assert len(quiet.stdout.splitlines()) == 1
    assert "advice" not in quiet.stderr


def test_what_a_host_says_is_shown_in_a_saved_plan_and_not_obeyed(hands: HandsSite, tmp_path: Path) -> None:
    path = tmp_path / "site.plan"
    hands.sh("gw-1", "ln -sf \"$(printf '/tmp/\\033[31mred\\342\\200\\256gnp')\" /etc/pip.conf")
    said = steelyard("plan", "-i", str(hands.inventory), "-o", str(path))
    assert said.returncode == 2, said.stderr
    assert f"link to {SPOILED}" in said.stdout
    saved = json.loads(path.read_text())
    assert saved["totals"]["changes"] == 1
    assert saved["text"][0].startswith("gw-1: package_client | Point pip at the mirror: /etc/pip.conf: ")
    done = steelyard("apply", str(path))
    assert done.returncode == 0, done.stderr
    assert "plan: 1 change on 1 of 5 hosts" in done.stderr
    assert done.stdout.splitlines()[-1] == "1 task changed on 1 host of 5"
    assert "\x1b" not in said.stdout + said.stderr + done.stdout + done.stderr
    assert hands.changed("plan") == {}
