"""A rollout without hosts: which strategy, what it costs, what is told to whom in which order, and where everything
ends.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from steelyard.api.host_error import HostError
from steelyard.engine.waves import Share
from steelyard.errors import ConnectionLost, Exit, HelperRefused, PromptsWrong, TrialOpen
from steelyard.interrupts.signals import Interruption, SignalHandler
from steelyard.models.content.manifest import Manifest, ManifestFile, ManifestTensor
from steelyard.rollout.journal import RolloutHead, RolloutJournal
from steelyard.rollout.open_trials import open_trials_of
from steelyard.rollout.prompts import read_prompts
from steelyard.rollout.request import OnInterrupt
from steelyard.rollout.run import Rollout, RolloutOutcome, RolloutPlan
from steelyard.rollout.strategy import Prediction, choose_strategy, why_not_reload
from steelyard.site.schema import Serve
from steelyard_host.engine.trial_record import text_of
from steelyard_host.wire.rollout import Cause, Prompt, Strategy, SwitchState, Trial, TrialRequest, TrialState

SERVE = Serve(hosts="gpu")


def manifest(weights: str = "a", config: str = "c", shape: tuple[int, ...] = (2, 2)) -> Manifest:
    files = {
        "model.safetensors": ManifestFile(8, weights, weights, ()),
        "config.json": ManifestFile(2, config, config, ()),
    }
    return Manifest.of(files, {"model.safetensors": {"w": ManifestTensor("BF16", shape, 0, 0, weights)}})


def test_weights_alone_are_taken_in_place() -> None:
    assert why_not_reload(manifest("a"), manifest("b"), SERVE) is None


@pytest.mark.parametrize(
    ("after", "serve", "why"),
    [
        (manifest("b", config="d"), SERVE, "config.json is another one"),
        (manifest("b", shape=(4, 1)), SERVE, "its tensors have other names, shapes or types"),
        (manifest("b"), SERVE.model_copy(update={"options": {"quantization": "fp8"}}), "its weights are quantized"),
    ],
)
def test_what_an_engine_reads_at_its_start_only_needs_one(after: Manifest, serve: Serve, why: str) -> None:
    assert str(why_not_reload(manifest("a"), after, serve)).startswith(why)


@pytest.mark.parametrize(
    ("why_not", "others", "taken"),
    [
        ((None, "full", "full"), 0, "reload"),
        (("shapes", None, None), 0, "surge"),
        (("shapes", "full", None), 0, "sleep-swap"),
        (("shapes", "full", "full"), 0, "swap"),
        (("shapes", None, None), 1, "swap"),  # others answer meanwhile: no memory is asked for
    ],
)
def test_auto_takes_the_least_wait_that_is_safe(
    why_not: tuple[str | None, str | None, str | None], others: int, taken: str
) -> None:
    assert choose_strategy(None, *why_not, others).value == taken
    assert choose_strategy(Strategy.SLEEP_SWAP, *why_not, others) is Strategy.SLEEP_SWAP


def test_a_wait_that_is_longer_than_the_gateway_holds_is_told() -> None:
    state = SwitchState("/m/p/v1", "/m/p/v1", None, None, start_s=100.0, weights_s=2.0)
    assert Prediction.of(Strategy.SWAP, state, 0).too_long(120) == 150
    assert Prediction.of(Strategy.SWAP, state, 0).too_long(150) is None
    assert Prediction.of(Strategy.SWAP, state, 1).too_long(0) is None  # another replica answers
    assert Prediction.of(Strategy.RELOAD, state, 0).too_long(0) is None  # the engine itself holds them
    assert Prediction.of(Strategy.SWAP, state._replace(start_s=None), 0).too_long(120) == 450


def test_quality_set_is_read(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(
        '{"prompt": "2+2=", "expect": "4"}\n\n{"messages": [{"role": "user", "content": "hi"}], "expect": "."}\n'
    )
    assert read_prompts(path) == (
        Prompt("4", prompt="2+2="),
        Prompt(".", messages=({"role": "user", "content": "hi"},)),
    )


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ('{"prompt": "a", "expect": "["}', ":1", "no regular expression"),
        ('{"prompt": "a", "expect": "b"}\n{"prompt": "a"}', ":2", "expect"),
        ('{"expect": "b"}', ":1", "give `prompt` or `messages`"),
        ("no JSON", ":1", "JSON"),
        ("", "", "there is no prompt"),
    ],
)
def test_quality_set_that_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, line: str, word: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(PromptsWrong) as caught:
        read_prompts(path)
    assert caught.value.where == f"{path}{line}"
    assert word in str(caught.value)


def test_trial_says_every_list_again_with_the_other_folder() -> None:
    unit = "[Service]\nExecStart=/engine\nExecStartPost=+ready x\n"
    drop_in = (
        "# why\n[Service]\nBindReadOnlyPaths=/m/v1:/run/x/model\nExecStartPre=-+warm /m/v1 "
        "300\nExecStartPost=-+replaced /m/v1\n"
    )
    assert text_of(unit, drop_in, "/m/v1", "/m/v2").splitlines() == [
        "[Service]",
        "BindReadOnlyPaths=",
        "ExecStartPre=",
        "ExecStartPost=",
        "ExecStartPost=+ready x",
        "BindReadOnlyPaths=/m/v2:/run/x/model",
        "ExecStartPre=-+warm /m/v2 300",
        "ExecStartPost=-+replaced /m/v2",
    ]


class Fakes:
    """Hosts as the helpers are: each has a record, and what goes wrong with it by name of the step."""

    def __init__(self, **wrong: str) -> None:
        self.wrong = wrong
        self.serves: dict[str, str] = {}
        self.causes: dict[str, Cause] = {}  # of engines that do not start
        self.records: dict[str, Trial] = {}
        self.told: list[str] = []
        self.lost_words = 0  # confirmations that do not arrive

    def _step(self, host: str, step: str) -> str:
        self.told.append(f"{host} {step}")
        fails = self.wrong.get(host, "")
        if fails == f"lost at {step}" or fails == "gone":
            raise HostError(ConnectionLost(where=host, why="reset"))
        return fails

    def warm(self, host: str, folder: str) -> None: ...

    def attempt(self, host: str, request: TrialRequest, seconds: float) -> Trial:
        fails = self._step(host, "try")
        trial = Trial.begun(request, self.serves.get(host, "/m/p/v1"), "boot", 0)
        state = TrialState.UNDONE if fails == "gate" else TrialState.SERVING
        self.records[host] = trial._replace(state=state, why="the gate" if fails else "", cause=self.causes.get(host))
        if state is TrialState.SERVING:
            self.serves[host] = request.folder
        return self.records[host]

    def confirm(self, host: str, run: str) -> Trial:
        if self.lost_words:
            self.lost_words -= 1
            raise HostError(ConnectionLost(where=host, why="reset"))
        self._step(host, "confirm")
        self.records[host] = self.records[host]._replace(state=TrialState.CONFIRMED)
        return self.records[host]

    def undo(self, host: str, run: str, why: str, seconds: float) -> Trial:
        self._step(host, "undo")
        self.serves[host] = self.records[host].before
        self.records[host] = self.records[host]._replace(state=TrialState.UNDONE)
        return self.records[host]

    def settled(self, host: str, run: str, seconds: float) -> Trial:
        if self.wrong.get(host) == "gone" or host not in self.records:
            raise HostError(HelperRefused(where=host, command="switch-try", why="never begun"))
        return self.records[host]


HEAD = RolloutHead("r1", "tiny", "v2", "p", ("a",), {"a": Strategy.RELOAD}, (Prompt("4", prompt="2+2="),))


def rollout(tmp_path: Path, fakes: Fakes, allowed: int = 0, serial: int = 1, gate: str | None = None) -> RolloutOutcome:
    hosts = ["a", "b", "c"]
    plan = RolloutPlan("r1", "tiny", "tiny", "/m", "p", "v2", dict.fromkeys(hosts, Strategy.RELOAD))
    journal = RolloutJournal(tmp_path / "j.jsonl")
    journal.begin(HEAD)
    return Rollout(plan, fakes, journal, lambda event: None, lambda names: gate).execute(
        hosts, Share(serial), Share(allowed)
    )


def test_hosts_are_tried_and_confirmed_wave_by_wave(tmp_path: Path) -> None:
    fakes = Fakes()
    done = rollout(tmp_path, fakes)
    assert fakes.told == ["a try", "a confirm", "b try", "b confirm", "c try", "c confirm"]
    assert (done.exit, set(fakes.serves.values())) == (Exit.DONE, {"/m/p/v2"})
    assert RolloutJournal(tmp_path / "j.jsonl").unfinished() is None


def test_one_that_fails_takes_the_others_back(tmp_path: Path) -> None:
    fakes = Fakes(b="gate")
    done = rollout(tmp_path, fakes)
    assert fakes.told == ["a try", "a confirm", "b try", "a try", "a confirm"]
    assert (done.exit, fakes.serves["a"], done.left) == (Exit.ROLLED_BACK, "/m/p/v1", set())
    assert "the gate" in str(done.errors["b"])


def test_why_an_engine_did_not_start_comes_with_its_fix(tmp_path: Path) -> None:
    fakes = Fakes(b="gate")
    assert "mend the cause, and run" in rollout(tmp_path, fakes).errors["b"].remedy
    fakes.causes["b"] = Cause("block-size", "block size 17", "take `block-size` out", "Worker")
    assert "take `block-size` out, and run the rollout again" in rollout(tmp_path, fakes).errors["b"].remedy


def test_as_many_may_fail_as_were_allowed(tmp_path: Path) -> None:
    fakes = Fakes(b="gate")
    done = rollout(tmp_path, fakes, allowed=1)
    assert (done.exit, done.rolled_back, fakes.serves) == (Exit.HOST_FAILED, False, {"a": "/m/p/v2", "c": "/m/p/v2"})


def test_a_word_that_was_lost_is_said_again(tmp_path: Path) -> None:
    fakes = Fakes()
    fakes.lost_words = 1
    assert rollout(tmp_path, fakes).exit == Exit.DONE


def test_a_host_that_cannot_be_confirmed_goes_back_with_the_others(tmp_path: Path) -> None:
    fakes = Fakes(b="lost at confirm")
    done = rollout(tmp_path, fakes)
    assert (done.exit, fakes.serves["a"], fakes.serves["b"]) == (Exit.ROLLED_BACK, "/m/p/v1", "/m/p/v1")


def test_a_host_that_is_gone_is_named_as_unknown(tmp_path: Path) -> None:
    done = rollout(tmp_path, Fakes(b="gone"))
    assert (done.exit, done.left) == (Exit.HOST_FAILED, {"b"})


def test_a_gate_that_refuses_undoes_the_wave(tmp_path: Path) -> None:
    fakes = Fakes()
    done = rollout(tmp_path, fakes, serial=3, gate="the gateway sees b DOWN")
    assert (done.exit, set(fakes.serves.values())) == (Exit.ROLLED_BACK, {"/m/p/v1"})
    assert not [told for told in fakes.told if "confirm" in told]


def test_a_rollout_that_was_cut_short_is_known_by_its_journal(tmp_path: Path) -> None:
    journal = RolloutJournal(tmp_path / "j.jsonl")
    assert journal.unfinished() is None
    journal.begin(HEAD)
    journal.step("try", "a")
    assert journal.unfinished() == HEAD
    journal.path.write_text(journal.path.read_text() + '{"step": "co')  # torn by a kill
    assert replace(journal).unfinished() == HEAD


class Handles(SignalHandler):
    """Signals that come when a host is told something: `at` is what it is told, as Fakes write it down."""

    def __init__(self, fakes: Fakes, at: str) -> None:
        super().__init__()
        self.fakes, self.at = fakes, at

    @property
    def first(self) -> Interruption | None:  # type: ignore[override]
        return Interruption(signal.SIGTERM, 0.0) if self.at in self.fakes.told else None

    @first.setter
    def first(self, value: object) -> None: ...


def stopped(
    tmp_path: Path, at: str, way: OnInterrupt = OnInterrupt.UNDO, serial: int = 1
) -> tuple[Fakes, RolloutOutcome]:
    fakes = Fakes()
    hosts = ["a", "b", "c"]
    plan = RolloutPlan("r1", "tiny", "tiny", "/m", "p", "v2", dict.fromkeys(hosts, Strategy.RELOAD))
    journal = RolloutJournal(tmp_path / "j.jsonl")
    journal.begin(HEAD)
    run = Rollout(
        plan, fakes, journal, lambda event: None, lambda names: None, lambda first, trials: way, Handles(fakes, at)
    )
    return fakes, run.execute(hosts, Share(serial), Share(0))


@pytest.mark.parametrize(
    ("at", "told", "serves"),
    [
        ("a try", ["a try", "a undo"], {"a": "v1"}),  # it had switched, and was not confirmed
        ("a confirm", ["a try", "a confirm"], {"a": "v2"}),
        ("b try", ["a try", "a confirm", "b try", "b undo"], {"a": "v2", "b": "v1"}),
    ],
)
def test_a_signal_stops_before_the_next_step_and_what_is_on_trial_goes_back(
    tmp_path: Path, at: str, told: list[str], serves: dict[str, str]
) -> None:
    fakes, done = stopped(tmp_path, at)
    assert fakes.told == told
    assert {host: folder.rsplit("/", 1)[1] for host, folder in fakes.serves.items()} == serves
    assert (done.exit, done.errors, done.rolled_back) == (Exit.INTERRUPTED, {}, False)
    assert RolloutJournal(tmp_path / "j.jsonl").unfinished() == HEAD


def test_what_is_held_stays_on_trial(tmp_path: Path) -> None:
    fakes, done = stopped(tmp_path, "b try", OnInterrupt.HOLD, serial=3)
    assert not [told for told in fakes.told if "undo" in told or "confirm" in told]
    assert {trial.state for trial in done.records.values()} == {TrialState.SERVING}
    assert done.exit is Exit.INTERRUPTED


@pytest.mark.parametrize("command", ["rollout", "rollback"])
def test_who_leaves_at_once_is_told_the_command_that_goes_on(tmp_path: Path, command: str) -> None:
    plan = RolloutPlan("r1", "tiny", "tiny", "/m", "p", "v2", {"a": Strategy.SWAP}, command=command)
    run = Rollout(plan, Fakes(), RolloutJournal(tmp_path / "j"), lambda event: None, lambda names: None)
    run.moving.add("a")
    undone = "a: v2 is on trial; the host goes back by itself 300 s after it serves, where nobody confirms it"
    assert run.last_words() == [undone, f"go on: `steelyard {command} tiny --resume`"]


def test_a_signal_after_the_last_step_changes_nothing(tmp_path: Path) -> None:
    _, done = stopped(tmp_path, "c confirm")
    assert (done.exit, done.cut_short) == (Exit.DONE, None)
    assert RolloutJournal(tmp_path / "j.jsonl").unfinished() is None


def trial(folder: str, before: str, state: TrialState, run: str = "r9") -> SwitchState:
    request = TrialRequest(run, "tiny", folder, Strategy.SWAP, (), 900, 60, 300, "anna from ops-2")
    record = Trial.begun(request, before, "boot", 1000.0)._replace(state=state, seconds=7.0)
    return SwitchState(folder, before, None, record)


def test_open_trials_are_taken_up_or_undone_or_named() -> None:
    states = {
        "a": trial("/m/p/v2", "/m/p/v1", TrialState.SERVING),
        "b": trial("/m/p/v1", "/m/p/v2", TrialState.SERVING),
        "c": trial("/m/p/v3", "/m/p/v1", TrialState.CONFIRMED),  # over: nobody's business
    }
    left = open_trials_of("tiny", states, "/m/p/v2")
    assert ({*left.adopted}, {*left.undone}) == ({"a"}, {"b"})
    with pytest.raises(TrialOpen) as caught:
        open_trials_of("tiny", states, "/m/p/v3")
    assert "v2 of `tiny` on trial since 1970-01-01T00:16:40Z by anna from ops-2, before it v1" in str(caught.value)
    assert "goes back by itself at 1970-01-01T00:21:47Z" in str(caught.value)


def test_a_trial_that_is_taken_up_keeps_the_name_its_host_knows(tmp_path: Path) -> None:
    fakes = Fakes()
    plan = RolloutPlan("r1", "tiny", "tiny", "/m", "p", "v2", {"a": Strategy.SWAP}, adopted={"a": "r9"})
    journal = RolloutJournal(tmp_path / "j.jsonl")
    journal.begin(HEAD)
    done = Rollout(plan, fakes, journal, lambda event: None, lambda names: None).execute(["a"], None, Share(0))
    assert (done.records["a"].run, done.exit) == ("r9", Exit.DONE)


def test_trials_of_others_are_undone_first(tmp_path: Path) -> None:
    fakes = Fakes()
    state = trial("/m/p/v2", "/m/p/v1", TrialState.SERVING)
    assert state.switch is not None
    fakes.records["a"] = state.switch
    plan = RolloutPlan("r1", "tiny", "tiny", "/m", "p", "v1", {})
    run = Rollout(plan, fakes, RolloutJournal(tmp_path / "j.jsonl"), lambda event: None, lambda names: None)
    run.withdraw({"a": state.switch})
    assert (fakes.told, fakes.serves, run.outcome.records["a"].state) == (
        ["a undo"],
        {"a": "/m/p/v1"},
        TrialState.UNDONE,
    )
