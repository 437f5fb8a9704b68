"""`steelyard dify check` over real HTTP: no answer that was kept counts, and whatever ends it, nothing of it stays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dify_front import KEYS, Front, a_front
from dify_world import PASSWORD, PROVIDER, World, a_world
from fix_case import run

from steelyard.dify.check import ModelCheck, check_models
from steelyard.dify.check_names import (
    DESCRIPTION,
    LIFETIME_S,
    description_with,
    is_left_over,
    is_of_a_check,
    key_in,
    made_at,
    name_at,
    new_nonce,
)
from steelyard.dify.check_notes import CheckNotes, left_behind
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.dify.proof import PROOF_S
from steelyard.dify.service_calls import ServiceCalls
from steelyard.dify.uses import read_uses
from steelyard.errors import DifyKeysFull, Exit
from steelyard.interrupts.signals import SAME_S

KINDS = {"tiny": "llm", "embed": "text-embedding", "sort": "rerank", "speak": "tts", "hear": "speech2text"}
PROGRAM = """
import sys
from steelyard.dify.check import check_models
from steelyard.dify.client import DifyAccess, DifyClient
from steelyard.errors import Exit
from steelyard.interrupts.signals import HANDLER, Stopped

HANDLER.install()
try:
    check_models(DifyClient(DifyAccess(sys.argv[1], "admin@lab.example", sys.argv[2])), sys.argv[3], print)
except Stopped as stopped:
    print("stopped:", stopped.state, flush=True)
    sys.exit(Exit.INTERRUPTED)
"""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        models = [made.model(name, kind) for name, kind in KINDS.items()]
        made.converge(
            made.client(), *(replace(model, default=model.type in ("tts", "speech2text")) for model in models)
        )
        yield made


@pytest.fixture
def front(world: World) -> Iterator[Front]:
    with a_front(world.url) as made:
        yield made


def client(front: Front) -> DifyClient:
    return DifyClient(DifyAccess(front.url, "admin@lab.example", PASSWORD))


def check(front: Front) -> ModelCheck:
    return check_models(client(front), PROVIDER, lambda _: None)


def results(checked: ModelCheck) -> dict[str, str]:
    return {proof.model: proof.result for proof in checked.proofs}


def stays(world: World) -> tuple[list[str], list[str], int]:
    state = world.console.state
    names = [sorted(str(entry["name"]) for entry in state[kind].values()) for kind in ("apps", "datasets")]
    return names[0], names[1], len(state["keys"])


def begun(front: Front, at: str) -> subprocess.Popen[str]:
    """A check as a process of its own, which waits for the answer to this request; it was carried out."""
    front.held[at] = threading.Event()
    words = [sys.executable, "-c", PROGRAM, front.url, PASSWORD, PROVIDER]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert front.came.wait(20), process.communicate(timeout=5)
    front.came.clear()
    return process


ALL = dict.fromkeys(KINDS, "answered")


def test_every_proof_asks_what_was_asked_by_none_before(front: Front) -> None:
    """Dify keeps embeddings by their text: the same question gets an answer although the endpoint is dead."""
    assert results(check(front)) == results(check(front)) == ALL
    texts = [body["text"] for body in front.bodies("/create-by-text")]
    queries = [body["query"] for path in ("/retrieve", "/chat-messages") for body in front.bodies(path)]
    said = [body["text"] for body in front.bodies("/text-to-audio")]
    assert [len(texts), len(queries), len(said)] == [4, 6, 2]
    assert len({*texts, *queries, *said}) == 12


def test_what_comes_back_has_to_be_the_document_of_this_proof(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    from steelyard.dify import proof

    monkeypatch.setattr(proof, "TEXT", "Another one")
    monkeypatch.setattr(proof, "new_nonce", iter(f"{number:06x}" for number in range(100)).__next__)
    kept = Front.note

    def stale(self: Front, method: str, path: str, body: object, status: int, answer: object) -> None:
        kept(self, method, path, body, status, answer)
        if path.endswith("/retrieve") and isinstance(answer, dict):
            for record in answer["records"]:
                record["segment"]["content"] = "A steelyard is a balance with arms of unequal length."

    monkeypatch.setattr(Front, "note", stale)
    found = {proof.model: proof.why for proof in check(front).proofs}
    assert (found["embed"], found["sort"]) == ("the document was not found again",) * 2


def test_two_checks_at_once_are_in_nobody_s_way(front: Front, world: World) -> None:
    checks: list[ModelCheck] = []
    threads = [threading.Thread(target=lambda: checks.append(check(front))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results(checked) for checked in checks] == [ALL] * 3
    assert [(checked.removed, checked.left) for checked in checks] == [((), ())] * 3
    assert stays(world) == ([], [], 0)


def test_another_s_check_that_is_at_work_is_left_alone(front: Front, world: World) -> None:
    process = begun(front, "POST /v1/chat-messages")
    front.held["POST /v1/chat-messages"].set()
    del front.held["POST /v1/chat-messages"]
    front.held["POST /console/api/nowhere"] = threading.Event()
    assert results(check(front)) == ALL
    out, _ = process.communicate(timeout=30)
    assert [line.split(": ")[1] for line in out.splitlines()] == ["answered"] * 5
    assert stays(world) == ([], [], 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    "at",
    [
        "POST /v1/chat-messages",
        "POST /console/api/apps",
        "POST /v1/datasets",
        f"POST {KEYS}",
        "DELETE /console/api/apps/*",
        f"DELETE {KEYS}/*",
    ],
)
def test_a_check_that_a_signal_stops_leaves_nothing(
    front: Front, world: World, at: str, number: signal.Signals
) -> None:
    process = begun(front, at)
    process.send_signal(number)
    time.sleep(0.1)  # the signal comes first: the answer to what makes something is let go behind it
    front.held[at].set()
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (Exit.INTERRUPTED, "")
    assert out.splitlines()[-1] == "stopped: "
    assert stays(world) == ([], [], 0)


def test_a_second_signal_leaves_at_once_and_says_what_stays(front: Front, world: World) -> None:
    process = begun(front, "DELETE /console/api/apps/*")
    process.send_signal(signal.SIGTERM)
    time.sleep(SAME_S + 0.3)  # two within it are one signal, said twice
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == Exit.INTERRUPTED
    assert "SIGTERM again: left at once\napp `steelyard check 20" in errors
    assert "stays in Dify; the next `steelyard dify check` removes it" in errors
    front.held.popitem()[1].set()
    assert results(check(front)) == ALL
    assert stays(world) == ([], [], 0)


def test_the_command_tells_what_it_removed(front: Front, world: World, tmp_path: Path) -> None:
    killed(front, "POST /v1/chat-messages")
    variables = tmp_path / "site/group_vars/dify"
    variables.mkdir(parents=True)
    (tmp_path / "site/hosts.yml").write_text("dify: {hosts: {dify-1: {ansible_connection: local}}}\n")
    section = {"url": front.url, "email": "admin@lab.example", "password": PASSWORD}
    (variables / "dify.yml").write_text(json.dumps({"dify": section}))
    done = run(["steelyard", "dify", "check", "-i", str(tmp_path / "site"), "--json"])
    assert done.returncode == Exit.DONE, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert {model["model"]: model["result"] for model in document["models"]} == ALL
    assert [what.split(" `")[0] for what in document["removed"]] == ["app"]
    assert document["left"] == []


def killed(front: Front, at: str) -> None:
    process = begun(front, at)
    process.kill()
    process.communicate(timeout=10)
    front.held.pop(at).set()


@pytest.mark.parametrize(
    ("at", "left", "keys"),
    [
        ("POST /v1/chat-messages", "app", 1),
        ("POST /console/api/apps", "app", 0),  # killed before it knew more of it than the name
        ("POST /v1/audio-to-text", "app", 1),
        ("POST /v1/datasets", "knowledge base", 1),
    ],
)
def test_what_a_killed_check_left_goes_with_the_next_one(
    front: Front, world: World, at: str, left: str, keys: int
) -> None:
    killed(front, at)
    apps, datasets, kept = stays(world)
    assert (len(apps + datasets), kept) == (1, keys)
    checked = check(front)
    assert (results(checked), checked.left) == (ALL, ())
    assert [what.split(" `")[0] for what in checked.removed if "API key" not in what] == [left]
    assert stays(world) == ([], [], 0)
    assert front.keys == set()
    assert list(left_behind(front.url + "/console/api")) == []


def test_on_another_machine_it_goes_when_it_is_older_than_a_check_can_be(
    front: Front, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner of CI is thrown away after its job, and its notes with it. Dify's clock counts, not this machine's."""
    killed(front, "POST /v1/datasets")
    left = stays(world)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    checked = check(front)
    assert (results(checked), checked.removed) == (ALL, ())
    assert stays(world) == left
    front.ahead_s = LIFETIME_S + 60
    checked = check(front)
    assert [what.split(" `")[0] for what in checked.removed] == ["knowledge base"]
    assert stays(world) == ([], [], 0)
    assert front.keys == set()


def human_s(world: World, name: str, description: str = "") -> None:
    """An app and a knowledge base of a human's, and a key."""
    api = world.client()
    app = {"name": name, "mode": "chat", "icon_type": "emoji", "icon": "x", "description": description}
    api.send("POST", "/apps", app)
    token = api.send("POST", "/datasets/api-keys", None)["token"]
    body = {"name": name, "description": description, "indexing_technique": "high_quality", "permission": "only_me"}
    more = {"embedding_model": "embed", "embedding_model_provider": PROVIDER}
    ServiceCalls(world.url, token, time.monotonic() + 60).ask("POST", "/datasets", {**body, **more})


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("steelyard check", DESCRIPTION),
        ("steelyard check: embed", DESCRIPTION),
        ("steelyard check 20200101T000000Z", DESCRIPTION),
        ("x steelyard check 20200101T000000Z-abcde", DESCRIPTION),
        ("steelyard check 20200101T000000Z-abcdef", "mine"),
        ("steelyard check 20200101T000000Z-abcdef", ""),
    ],
)
def test_what_is_a_human_s_stays(front: Front, world: World, name: str, description: str) -> None:
    with a_front(world.url) as other:
        human_s(replace(world, url=other.url), name, description)
        front.made |= other.made
    before = stays(world)
    checked = check(front)
    assert (results(checked), checked.removed) == (ALL, ())
    assert stays(world) == before == ([name], [name], 1)


def test_the_eleventh_key_is_told_and_no_key_of_a_human_s_goes(front: Front, world: World) -> None:
    for _ in range(10):
        client(front).send("POST", "/datasets/api-keys", None)
    checked = check(front)
    found = {proof.model: (proof.result, proof.why) for proof in checked.proofs}
    assert {model: result for model, (result, _) in found.items()} == {**ALL, "embed": "failed", "sort": "failed"}
    assert "has 10 API keys for knowledge bases, and Dify allows no more" in found["embed"][1]
    assert found["sort"][1] == str(DifyKeysFull(where=client(front).where, most="10"))
    assert (stays(world), len(front.keys)) == (([], [], 10), 10)


def test_what_cannot_be_removed_is_told_and_goes_with_the_next_check(
    front: Front, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Front.refusal

    def refusing(self: Front, method: str, path: str, body: object) -> tuple[int, object] | None:
        if method == "DELETE" and "/datasets/" in path and "api-keys" not in path:
            return 500, {"code": "unknown", "message": "Internal Server Error", "status": 500}
        return kept(self, method, path, body)

    with monkeypatch.context() as broken:
        broken.setattr(Front, "refusal", refusing)
        checked = check(front)
    assert results(checked) == ALL
    assert [what.split(" `")[0] for what in checked.left] == ["knowledge base"] * 2
    assert all("500: Internal Server Error" in what for what in checked.left)
    assert [what.split(" `")[0] for what in check(front).removed] == ["knowledge base"] * 2
    assert stays(world) == ([], [], 0)


def test_a_login_that_may_not_look_for_leftovers_still_checks(
    front: Front, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(self: Front, method: str, path: str, body: object) -> tuple[int, object] | None:
        if (method, path) == ("GET", "/console/api/datasets"):
            return 403, {"code": "forbidden", "message": "You have no permission.", "status": 403}
        return None

    monkeypatch.setattr(Front, "refusal", forbidden)
    checked = check(front)
    assert (results(checked), len(checked.left)) == (ALL, 1)
    assert "as knowledge base, for it cannot be looked for" in checked.left[0]


def test_a_check_s_own_are_no_users_of_a_model(
    front: Front, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(front, "POST /v1/datasets")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    killed(front, "POST /v1/chat-messages")
    assert [len(names) for names in stays(world)[:2]] == [1, 1]
    uses = read_uses(world.client())
    assert (uses.of(PROVIDER, "embed", "text-embedding"), uses.of(PROVIDER, "tiny", "llm")) == ([], [])
    human_s(world, "handbook")
    assert read_uses(world.client()).of(PROVIDER, "embed", "text-embedding") == ["knowledge `handbook`"]


def test_names_are_their_own_and_short_enough() -> None:
    names = {name_at(1796140661.5, new_nonce()) for _ in range(50)}
    assert len(names) > 45
    assert {(len(name), is_of_a_check(name), made_at(name)) for name in names} == {(39, True, 1796140661.0)}
    name, at = name_at(1796140661, "0a1b2c"), 1796140661
    assert name == "steelyard check 20261201T155741Z-0a1b2c"
    assert not is_left_over(name, DESCRIPTION, at + LIFETIME_S)
    assert is_left_over(name, DESCRIPTION, at + LIFETIME_S + 1)
    assert PROOF_S * 2 <= LIFETIME_S
    assert not is_of_a_check("steelyard check 20269901T155741Z-0a1b2c")
    key = "c18e3e67-c110-4461-bb03-1eb5858a5eef"
    assert key_in(description_with(key)) == key
    assert len(description_with(key)) <= 400
    assert key_in(DESCRIPTION) is None


def test_notes_are_private_and_end_with_what_they_name(tmp_path: Path) -> None:
    notes = CheckNotes("http://d/console/api", tmp_path)
    notes.add("/apps/1", "app `x`")
    (path,) = tmp_path.glob("*")
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(left_behind("http://d/console/api", tmp_path)) == []  # its check lives
    notes.add("/apps/2", "app `y`")
    notes.remove("/apps/1")
    notes.close()
    assert [notes.objects for notes in left_behind("http://d/console/api", tmp_path)] == [{"/apps/2": "app `y`"}]
    assert list(left_behind("http://other/console/api", tmp_path)) == []
    for notes in left_behind("http://d/console/api", tmp_path):
        notes.gone("/apps/2")
    assert list(tmp_path.glob("*")) == []


def test_a_folder_that_cannot_be_written_keeps_no_check_from_its_work(
    front: Front, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert results(check(front)) == ALL
    assert stays(world) == ([], [], 0)
