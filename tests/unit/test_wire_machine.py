"""Stores, hardware, mirrors and Dify across releases: what a helper of 5e44696 answers is understood, and the reverse.

`tests/data/wire-5e44696/machine.json` is what it answers on the host of helper_machine.py.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wire_lines
from wire_recording import ROOT, lost, misread, recorder

from steelyard.doctor.gpus import check_gpus, check_services
from steelyard.hardware.floor import disk_measure, gpu_measures, hardware_measures
from steelyard.hardware.gpu_health import gpu_problems
from steelyard.models.content.manifest import Manifest
from steelyard.models.distribution.target_state import bytes_to_send, in_place, refusal
from steelyard.modules.connectors.helper_call import read_answer
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.operations.gpu import live_settings
from steelyard.modules.operations.unit import return_command
from steelyard.roles.preflight.settings import Settings
from steelyard.workflows.models import remove_versions
from steelyard_host.dify import upgrade
from steelyard_host.errors import HelperError
from steelyard_host.store.layout import ManifestDocument
from steelyard_host.wire.codec import from_json
from steelyard_host.wire.dify import (
    ArchiveList,
    Backup,
    BackupList,
    BackupProof,
    EnvChanges,
    InstalledRelease,
    JobState,
    Pulled,
    Rehearsal,
    Restored,
    ScheduledBackup,
    StackState,
    Unready,
    Upgrade,
    UpgradeState,
)
from steelyard_host.wire.hardware import DiskRate, GpuHealth, HostHardware, HostMemory, LinkRate, LinkServer
from steelyard_host.wire.mirror import RegistryProbe
from steelyard_host.wire.store import (
    CompileCacheState,
    CompileCacheUse,
    Gone,
    LinkedVersions,
    LoadFacts,
    Stays,
    StoreListing,
    Verification,
    VersionLease,
    VersionLeases,
    VersionState,
    Warming,
    WheelsState,
)

RECORDED = ROOT / "tests/data/wire-5e44696/machine.json"
OLDER: dict[str, Any] = json.loads(RECORDED.read_text())
COMMANDS: dict[str, type[Any]] = {
    "compiled-save": CompileCacheState,
    "compiled-state": CompileCacheState,
    "compiled-use": CompileCacheUse,
    "dify-backup": Backup,
    "dify-backups": BackupList,
    "dify-doing": JobState,
    "dify-env": EnvChanges,
    "dify-progress": Upgrade,
    "dify-prove": BackupProof,
    "dify-pull": Pulled,
    "dify-record": InstalledRelease,
    "dify-recover": Upgrade,
    "dify-rehearse": Rehearsal,
    "dify-restore": Restored,
    "dify-scheduled": ScheduledBackup,
    "dify-state": StackState,
    "dify-switch": Upgrade,
    "dify-up": Unready,
    "dify-verify": ArchiveList,
    "disk": DiskRate,
    "gpu-health": GpuHealth,
    "hardware": HostHardware,
    "link": LinkRate,
    "link-serve": LinkServer,
    "load-facts": LoadFacts,
    "memory": HostMemory,
    "registry-probe": RegistryProbe,
    "store-forget": Stays,
    "store-lease": VersionLease,
    "store-list": StoreListing,
    "store-release": VersionLeases,
    "store-replaced": Gone,
    "store-state": VersionState,
    "store-switch": LinkedVersions,
    "store-tidy": Gone,
    "store-verify": Verification,
    "store-warm": Warming,
    "wheels-index": WheelsState,
    "wheels-state": WheelsState,
}
# what is no value of the wire: a manifest, events, measured loaders under their engines' names, exit statuses
PLAIN = {
    "store-manifest",
    "store-manifest-none",
    "store-adopt",
    "store-adopt-refused",
    "load-record",
    "dify-work",
    "gpu-usable",
    "lines",
}
REFUSED = {"store-switch-none", "store-lease-none", "dify-backup-keyless", "dify-verify-broken", "dify-no-stage"}


def command_of(case: str) -> str:
    """The command of a case, which is named by it and, with another word, by what is there."""
    return max((name for name in COMMANDS if case == name or case.startswith(name + "-")), key=len)


CASES = {case: command_of(case) for case in sorted(OLDER.keys() - PLAIN - REFUSED)}


def read(case: str) -> Any:
    """The answer of the older helper, as the controller reads it."""
    kind = COMMANDS[CASES[case]]
    of_json = getattr(kind, "of_json", None)
    return of_json(OLDER[case]) if of_json is not None else read_answer("h", kind, CASES[case], OLDER[case])


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What this checkout's helper answers on the same host."""
    folder = tmp_path_factory.mktemp("wire") / "host"
    answers: dict[str, Any] = json.loads(recorder().answers(ROOT / "src", folder, "helper_machine.py"))
    return answers


def test_every_command_with_an_answer_was_recorded() -> None:
    assert set(CASES.values()) == set(COMMANDS)
    assert {argv.split()[0] for argv in wire_lines.BOTH} >= set(COMMANDS)


def test_the_recording_is_what_that_helper_says() -> None:
    try:
        again = recorder().recorded("5e44696", "helper_machine.py")
    except subprocess.CalledProcessError as failed:
        if failed.cmd[0] != "git":
            raise
        pytest.skip("this checkout does not have the commit")
    assert json.loads(again) == OLDER


@pytest.mark.parametrize("case", CASES)
def test_an_older_helpers_answer_is_read_value_by_value(case: str) -> None:
    assert list(misread(OLDER[case], read(case))) == []


def test_an_older_helper_refuses_with_a_sentence(newer: dict[str, Any]) -> None:
    for case in REFUSED:
        assert OLDER[case]["exit"] == 1
        assert newer[case] == OLDER[case]


# The reverse

# each tells the steps of an upgrade, which a person reads: there are more of them today
STEPPED = ("progress", "progress-back", "progress-running", "recover", "switch", "switch-back")


def test_an_older_controller_finds_what_it_reads(newer: dict[str, Any]) -> None:
    # an older controller takes `doing` out of the answer with a default: `told.pop("doing", None)`
    gone = [f"dify-progress{case}.doing is missing" for case in ("-back", "")]
    assert OLDER["dify-progress"]["doing"] is None
    # it is a person who reads why
    reworded = "dify-recover.why: 'the host went down in the middle' became 'it was cut in the middle'"
    # what was merged last has what is declared in it since then
    merged = "dify-verify.files.dify/.env.merged-last"
    # and the steps of an upgrade, of which there are more
    stepped = [f"dify-{case}.steps" for case in STEPPED]
    found = sorted(lost({**OLDER, "lines": None}, {**newer, "lines": None}))
    found = [words for words in found if words.partition(":")[0] != merged]
    assert [words for words in found if words.partition(":")[0] not in stepped] == [*gone, reworded]
    assert sorted({words.partition(":")[0] for words in found} & set(stepped)) == sorted(stepped)


def test_what_an_older_controller_asks_by_presence_is_there_or_absent_as_before(newer: dict[str, Any]) -> None:
    assert newer["dify-doing-failed"]["ended"].keys() == {"number", "why"}
    assert newer["dify-doing-rehearsed"]["ended"].keys() == {"number", "answer"}
    assert "from" in newer["dify-doing-rehearsed"]["ended"]["answer"]
    assert [list(event) for event in newer["store-adopt"]["events"]] == [["published"]]
    assert "proved" not in newer["dify-scheduled-unproved"]
    assert newer["gpu-health-faults"]["devices"][1].keys() == {"index", "error"}
    assert newer["dify-progress-none"] == {"state": "none", "steps": []}  # no `begun`: there was no upgrade
    assert newer["store-manifest-none"] == {}  # no manifest is false


# Words


@pytest.mark.parametrize("line", [*wire_lines.BOTH, "registry-probe http://127.0.0.1:5000 "])
def test_a_command_line_means_the_same_to_both(newer: dict[str, Any], line: str) -> None:
    assert OLDER["lines"][line] != 2
    beside = {name: said for name, said in newer["lines"][line].items() if name not in OLDER["lines"][line]}
    assert newer["lines"][line] == {**OLDER["lines"][line], **beside}
    assert not any(beside.values()), "what an older line does not say means nothing"


def test_every_command_of_either_release_is_among_the_lines() -> None:
    older = json.loads((RECORDED.parent / "answers.json").read_text())["commands"]
    assert {line.split()[0] for line in wire_lines.BOTH} == set(older)
    from steelyard_host.commands.parser import commands

    known = next(action.choices for action in commands()._actions if action.dest == "command")
    assert known is not None
    assert {line.split()[0] for line in (*wire_lines.BOTH, *wire_lines.SINCE)} == set(known)


@pytest.mark.parametrize("line", wire_lines.SINCE)
def test_an_older_helper_does_not_know_a_newer_command_and_says_so_by_its_exit_status(
    newer: dict[str, Any], line: str
) -> None:
    assert OLDER["lines"][line] == 2
    assert newer["lines"][line] != 2


def helper_of(folder: Path, *known: str) -> str:
    """A helper that knows these commands: it answers their name, and others as argparse refuses them."""
    path = folder / "helper"
    cases = "".join(f"""{word}) echo '{{"answers": "{word}"}}' ;;\n""" for word in known)
    path.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}fails) exit 1 ;;\n*) echo usage >&2; exit 2 ;;\nesac\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("known", "answer"),
    [
        (("doctor", "gpu-health"), {"answers": "doctor"}),
        (("gpu-health",), {"answers": "gpu-health"}),
        ((), None),
    ],
)
def test_doctor_asks_an_older_helper_for_what_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: tuple[str, ...], answer: object
) -> None:
    helper = helper_of(tmp_path, *known)
    monkeypatch.setattr("steelyard.modules.facts.helper.HELPER", helper)
    monkeypatch.setattr("steelyard.modules.facts.helper.RUN_HELPER", helper)
    fact: Any = HelperAnswer()
    command = fact.command(words=("doctor",)).get_raw_value()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert fact.process(done.stdout.splitlines()) == answer
    monkeypatch.setattr("steelyard.modules.facts.helper.OLDER_COMMANDS", {"fails": "gpu-health"})
    fails = fact.command(words=("fails",)).get_raw_value()
    assert subprocess.run(["sh", "-c", fails], check=False).returncode == 1  # a failure is none of its age


def test_where_a_helper_does_not_know_causes_the_units_log_is_shown() -> None:
    command = return_command("steelyard-vllm@tiny.service", "inactive").get_raw_value()
    assert "cause steelyard-vllm@tiny.service || journalctl" in command


def test_who_starts_engines_brings_the_helper_first() -> None:
    for deploy in (ROOT / "deploy").glob("*.py"):
        text = deploy.read_text()
        if "vllm()" in text:
            assert -1 < text.find("base()") < text.find("vllm()"), deploy.name


# What the controller makes of it


def test_an_older_helpers_gpus_are_judged_and_its_silence_about_services_is_told() -> None:
    host = SimpleNamespace(name="gpu-1", variables={})
    fleet: Any = SimpleNamespace(path=Path("/i"), in_group=lambda name: [host])
    answers = {"gpu-1": OLDER["gpu-health-faults"]}
    found = [(finding.code, finding.subject) for finding in check_gpus(fleet, answers, {})]
    assert ("doctor.gpu-lost", "GPU 1") in found
    assert ("doctor.gpu-remap", "GPU 0 row remapping") in found
    assert not [code for code, _ in found if code == "doctor.helper"]
    (silent,) = check_services(fleet, answers)
    assert (silent.code, silent.live) == (
        "doctor.helper",
        "an older one, which does not say why services do not run",
    )
    assert check_services(fleet, {"gpu-1": {**answers["gpu-1"], "services": []}}) == []
    (unread,) = check_services(fleet, {"gpu-1": {**answers["gpu-1"], "services": [{"name": "tiny"}]}})
    assert unread.code == "doctor.helper"
    assert unread.live.startswith("what it says of services cannot be read: `services[0]")
    assert check_services(fleet, {"gpu-1": None}) == []


def test_an_older_helpers_gpus_have_the_settings_that_it_says() -> None:
    health = read("gpu-health-mig")
    cut = live_settings(health.devices[0])
    assert (cut["persistence"], cut["mig"], cut["mig_layout"]) == ("1", "1", "3g.40gb,2g.20gb")
    assert [problem.check for problem in gpu_problems(read("gpu-health-mismatch"))] == ["versions", "xid", "xid"]
    assert [device.asleep for device in read("gpu-health-asleep").devices] == [True]
    assert [device.uuid for device in read("memory-lost").devices][1] is None


def test_an_older_helpers_store_is_compared_with_a_manifest() -> None:
    manifest = Manifest.of_json(OLDER["store-manifest"])
    assert in_place(manifest, read("store-state"))
    assert bytes_to_send(manifest, read("store-state")) == 0
    assert not in_place(manifest, read("store-state-altered"))
    assert not in_place(manifest, read("store-state-none"))
    assert bytes_to_send(manifest, read("store-state-none")) == 9
    assert refusal(manifest, read("store-state-none"), "/models/x") is None
    assert "was not published by steelyard" in str(refusal(manifest, read("store-state-unrecorded"), "/models/x"))
    assert ManifestDocument(OLDER["store-manifest"]).id == manifest.id


def test_an_older_helpers_hardware_is_measured_against_the_floor() -> None:
    floor = Settings()
    measures = {measure.name: measure for measure in hardware_measures(read("hardware"), floor, 0.0)}
    assert measures["cores"].live == "16 cores"
    assert disk_measure(read("disk"), floor).live == "2147 MB/s"
    assert disk_measure(read("disk-failed"), floor).live == "not measured: substring not found"
    assert [measure.live for measure in gpu_measures(read("gpu-health").pci)] == ["16 lanes", "8 lanes"]


def test_an_older_helpers_upgrade_is_followed_to_its_end() -> None:
    assert read("dify-progress-none") == Upgrade()
    assert (read("dify-progress").state, read("dify-progress-back").state) == (UpgradeState.DONE, UpgradeState.RESTORED)
    assert read("dify-progress-running").doing is not None
    job = read("dify-doing-rehearsed")
    rehearsal = Rehearsal.of_json(job.ended.answer)
    assert (rehearsal.from_version, rehearsal.to) == ("1.9.0", "1.10.0")
    assert read("dify-doing-failed").ended.why.endswith("it ends in the middle")
    assert from_json(StackState, OLDER["dify-state-none"]).version is None


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"state": "done", "doing": {"what": "reading the archive", "done": 1, "total": 2}}, None),
        ({"state": "paused", "archive": "/b/dify.tar.gz"}, "`state`: str 'paused' is none of none, running, done"),
    ],
)
def test_the_record_of_another_releases_upgrade_is_understood_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], said: str | None
) -> None:
    monkeypatch.setattr(upgrade, "STATE", tmp_path / "upgrade.json")
    assert upgrade.progress() == Upgrade()
    (tmp_path / "upgrade.json").write_text(json.dumps({**OLDER["dify-progress"], **record}))
    if said is None:
        assert upgrade.progress().doing is None  # nothing goes on: 5e44696 wrote down what did when a host was cut
        return
    with pytest.raises(HelperError) as caught:
        upgrade.progress()
    assert said in str(caught.value)


def test_versions_that_a_helper_cannot_remove_are_not_told_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    host: Any = SimpleNamespace(name="h")
    session: Any = SimpleNamespace(each=lambda work, doing: work(host), errors={})
    monkeypatch.setattr(remove_versions, "listed", lambda fleet, session: {"h": read("store-list")})
    site: Any = SimpleNamespace(model_root="/models", models={})
    for answer, gone in ((None, []), (Stays(()), ["llm/nas@v1"])):
        monkeypatch.setattr(remove_versions, "call_helper", lambda *asked, answer=answer, **options: answer)
        removal = remove_versions.Removal(
            SimpleNamespace(), session, site, remove_versions.Named("llm/nas", "v1"), 0, "test"
        )  # type: ignore[arg-type]
        assert removal.planned == {"h": ["llm/nas@v1"]}
        removal.carry_out()
        assert removal.removed == {"h": gone}
        assert [sentence.split(" ")[0] for sentence in removal.stays["h"]] == ([] if gone else ["llm/nas@v1"])
