"""Advice: what a plan tells beside changes. Services on the CPU need a compiler or eager mode."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from test_cli import run

from steelyard.api.advice import Advice
from steelyard.engine.plan import HostPlan, Plan, Task
from steelyard.errors import Exit
from steelyard.inventory.read import read_fleet
from steelyard.inventory.split_sections import split_sections
from steelyard.modules.facts.processor import ProcessorState
from steelyard.render.documents import plan_document
from steelyard.render.text import advice_lines
from steelyard.roles.gateway.advice import TELLING, left_out
from steelyard.roles.vllm.advice import cpu_advice, unpinned_wheels
from steelyard.site.resolve import site_of
from steelyard.site.schema import Serve
from steelyard.site.site import Service

ROOT = Path(__file__).parent.parent.parent

PACKAGES = ("python3-venv", "libnuma1", "haproxy")
BARE = ProcessorState(amx=False, accelerator=False, compiler=False, headers=False)


def service(**serve: object) -> Service:
    return Service(
        "tiny", "llm/tiny", "v1", "cpu-1", "10.0.0.1", "tiny", Serve.model_validate({"hosts": "gpu", **serve})
    )


def test_compiling_service_on_a_cpu_host_without_a_compiler_is_told_with_both_ways_out() -> None:
    [hint] = [hint for hint in cpu_advice([service()], PACKAGES, BARE, {}) if hint.code == "vllm.compiler"]
    assert "service tiny runs on the CPU" in hint.text
    assert "g++ and python3-dev" in hint.text
    assert "options: {enforce-eager: true}" in hint.fix
    assert "packages: [python3-venv, libnuma1, haproxy, g++, python3-dev]" in hint.fix


@pytest.mark.parametrize(
    ("serve", "packages", "processor"),
    [
        ({"options": {"enforce-eager": True}}, PACKAGES, BARE),
        ({"options": {"enforce_eager": True}}, PACKAGES, BARE),
        ({"environment": {"TORCHDYNAMO_DISABLE": "1"}}, PACKAGES, BARE),
        ({"engine": "llamacpp"}, PACKAGES, BARE),
        ({}, (*PACKAGES, "g++", "python3-dev"), BARE),
        ({}, PACKAGES, ProcessorState(amx=False, accelerator=False, compiler=True, headers=True)),
        ({}, PACKAGES, ProcessorState(amx=False, accelerator=True, compiler=False, headers=False)),
        ({}, PACKAGES, None),
    ],
    ids=[
        "eager",
        "eager, spelled otherwise",
        "nothing is compiled",
        "another engine",
        "declared",
        "there already",
        "a GPU",
        "nobody knows",
    ],
)
def test_nothing_is_told_of_a_compiler_where_none_is_needed(
    serve: dict[str, object], packages: tuple[str, ...], processor: ProcessorState | None
) -> None:
    assert [
        hint.code for hint in cpu_advice([service(**serve)], packages, processor, {}) if hint.code == "vllm.compiler"
    ] == []


def test_service_that_amx_would_kill_is_told_with_its_mend() -> None:
    processor = ProcessorState(amx=True, accelerator=True, compiler=True, headers=True)
    given = {"options": {"enforce-eager": True}, "environment": {"VLLM_CPU_KVCACHE_SPACE": "1"}}
    [hint] = cpu_advice([service(**given)], PACKAGES, processor, {"tiny": {"BF16": 9}})
    assert hint.code == "vllm.amx"
    assert "SIGILL" in hint.text
    assert "dtype: float32" in hint.fix
    assert cpu_advice([service(**given)], PACKAGES, processor, {"tiny": {"F16": 9}}) == []


def test_wheels_that_nobody_pinned_are_told_with_the_command_that_prints_the_line() -> None:
    hint = unpinned_wheels("llamacpp", "llama.cpp", "1.0")
    assert (hint.code, "llama.cpp 1.0" in hint.text) == ("llamacpp.unpinned", True)
    assert "steelyard wheels collect" in hint.fix


def test_advice_is_no_change_and_the_same_of_several_hosts_is_told_once() -> None:
    def host(name: str) -> HostPlan:
        return HostPlan(name, (), 3, advice=(Advice(name, "vllm.compiler", "it compiles", "do this"),))

    plan = Plan((host("a"), host("b")))
    assert (plan.exit, plan.pending) == (Exit.DONE, False)
    assert advice_lines(plan.advice) == ["advice: 2 hosts (a, b): it compiles", "  fix: do this"]
    own = Advice("gw-1", "limit.left-out", "left out", "take it in")
    told = plan_document(plan, plan.exit, advice=[own])["advice"]
    assert [(each["host"], each["code"]) for each in told] == [
        ("a", "vllm.compiler"),
        ("b", "vllm.compiler"),
        ("gw-1", "limit.left-out"),
    ]


def inventory(tmp_path: Path, **files: str) -> Path:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "hosts.yml").write_text(
        "all: {children: {gpu: {hosts: {g1: {ansible_host: 127.0.0.1, ansible_port: 9}}}, gateway: {hosts: "
        "{gw-1: }}}}\n"
    )
    for name, text in files.items():
        path = tmp_path / f"{name.replace('__', '/')}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def split(path: Path) -> list[tuple[str, str, str]]:
    return [
        (advice.host, advice.code, advice.text)
        for advice in split_sections(read_fleet(path), ("gateway", "vllm", "models"))
    ]


def test_section_of_a_host_that_hides_keys_of_a_group_is_told_with_both_places(tmp_path: Path) -> None:
    path = inventory(
        tmp_path,
        group_vars__all__roles="gateway:\n  port: 8080\n  hold_s: 60\n",
        **{"host_vars__gw-1": "gateway: {port: 9}\n"},
    )
    assert split(path) == [
        (
            "gw-1",
            "gateway.split",
            (
                f"`gateway` is what {path}/host_vars/gw-1.yml:1 says, whole; `hold_s` of "
                f"{path}/group_vars/all/roles.yml:1 is not used"
            ),
        )
    ]


def test_two_files_of_one_group_that_say_models_lose_those_of_the_first(tmp_path: Path) -> None:
    path = inventory(tmp_path, group_vars__all__a="models:\n  llm/a: {}\n", group_vars__all__b="models:\n  llm/b: {}\n")
    assert {(host, code) for host, code, _ in split(path)} == {("g1", "models.split"), ("gw-1", "models.split")}
    assert all("b.yml:1 says, whole; `llm/a`" in text for _, _, text in split(path))


def test_variables_in_the_source_of_hosts_are_looked_at_too(tmp_path: Path) -> None:
    path = inventory(tmp_path, group_vars__gpu="vllm: {drain_s: 5}\n")
    (path / "hosts.yml").write_text(
        "all:\n  vars: {vllm: {warm_s: 1, drain_s: 9}}\n  children: {gpu: {hosts: {g1: }}}\n"
    )
    assert [text.split("; ")[1] for _, _, text in split(path)] == [f"`warm_s` of {path}/hosts.yml:2 is not used"]


def test_a_value_that_only_says_otherwise_is_no_loss(tmp_path: Path) -> None:
    path = inventory(
        tmp_path, group_vars__all="vllm: {drain_s: 5}\n", group_vars__gpu="vllm: {drain_s: 7, warm_s: 1}\n"
    )
    assert split(path) == []


def test_plan_tells_it_from_the_cache_too_and_only_of_selected_hosts(tmp_path: Path) -> None:
    path = inventory(tmp_path, group_vars__all="vllm: {drain_s: 5}\n", group_vars__gpu="vllm: {warm_s: 1}\n")
    for _ in range(2):
        done = run("plan", "-i", str(path), "-l", "g1", "--json")
        assert [each["code"] for each in json.loads(done.stdout)["advice"]] == ["vllm.split"]
    assert "advice: g1: `vllm` is what" in run("plan", "-i", str(path), "-l", "g1").stderr
    found = json.loads(run("doctor", "-i", str(path), "--json").stdout)["findings"]
    assert [finding["severity"] for finding in found if finding["code"] == "doctor.vllm.split"] == ["warning"]


def test_limit_that_leaves_the_gateway_out_is_told_where_services_change(tmp_path: Path) -> None:
    models = "models: {llm/tiny: {source: file:///x, version: v1, alias: tiny, serve: {hosts: gpu}}}\n"
    site = site_of(read_fleet(inventory(tmp_path, group_vars__all=models)))
    [advice] = left_out(site, "g1", ["g1"], {"g1": {"vllm.configure-the-front"}})
    assert (advice.host, advice.fix) == ("gw-1", "steelyard apply -l 'g1' --with-gateway")
    assert advice.text == "the gateway (gw-1) is not part of -l g1, and has to know of what changes on g1"
    assert left_out(site, "g1", ["g1"], {"g1": {"base.set-the-limits"}}) == []
    assert left_out(site, "all", ["g1", "gw-1"], {"g1": {"vllm.configure-the-front"}}) == []


def test_tasks_that_tell_of_changed_services_are_tasks_of_the_role() -> None:
    named = {
        Task("vllm", name, ()).code
        for path in ("tasks.py", "front_keys.py", "retire.py")
        for name in re.findall(r'name="([^"]+)"', (ROOT / "roles/vllm" / path).read_text())
    }
    assert set(TELLING) <= named


def test_gateway_that_is_to_show_another_key_alone_is_told_who_has_to_accept_it(tmp_path: Path) -> None:
    models = "models: {llm/tiny: {source: file:///x, version: v1, alias: tiny, serve: {hosts: gpu}}}\n"
    site = site_of(read_fleet(inventory(tmp_path, group_vars__all=models)))
    changed = {"gw-1": {"gateway.write-the-engines-key"}}
    advice = left_out(site, "gw-1", ["gw-1"], changed)
    assert [(one.host, one.code, one.fix) for one in advice] == [
        ("gw-1", "gateway.fronts-left-out", "steelyard apply -l 'g1,gw-1'")
    ]
    assert left_out(site, "all", ["g1", "gw-1"], changed) == []
    assert left_out(site, "gw-1", ["gw-1"], {"gw-1": {"gateway.write-the-clients"}}) == []


def test_file_that_ansible_passes_over_beside_a_folder_is_told(tmp_path: Path) -> None:
    path = inventory(tmp_path, group_vars__all__models="model_root: /m\n")
    (path / "group_vars/all.yml").write_text("ansible_user: ops\nvllm: {warm_s: 1}\n")
    fleet = read_fleet(path)
    assert "ansible_user" not in fleet.hosts[0].variables
    found = split_sections(fleet, ("vllm",))
    assert {(each.code, each.text) for each in found} == {
        (
            "inventory.passed-over-all.yml",
            f"{path}/group_vars/all.yml is not read, because {path}/group_vars/all is there",
        )
    }
    subprocess.run(shlex.split(found[0].fix), check=True)
    assert read_fleet(path).hosts[0].variables["ansible_user"] == "ops"
    assert split_sections(read_fleet(path), ("vllm",)) == []


def test_file_that_ansible_passes_over_beside_another_is_brought_together_with_it(tmp_path: Path) -> None:
    path = inventory(tmp_path / "my site", host_vars__g1="vllm: {warm_s: 2}\n")
    (path / "host_vars/g1.yaml").write_text("ansible_user: ops\nvllm: {warm_s: 1}\n")
    [advice] = split_sections(read_fleet(path), ("vllm",))
    subprocess.run(advice.fix, shell=True, check=True)
    host = read_fleet(path).host("g1").variables
    assert (host["ansible_user"], host["vllm"]) == ("ops", {"warm_s": 2})
    assert split_sections(read_fleet(path), ("vllm",)) == []


def test_file_that_is_brought_into_a_folder_replaces_none_there(tmp_path: Path) -> None:
    path = inventory(tmp_path, group_vars__all__more="model_root: /m\n")
    (path / "group_vars/all.yml").write_text("ansible_user: ops\n")
    subprocess.run(shlex.split(split_sections(read_fleet(path), ("vllm",))[0].fix), check=True)
    variables = read_fleet(path).hosts[0].variables
    assert (variables["model_root"], variables["ansible_user"]) == ("/m", "ops")
