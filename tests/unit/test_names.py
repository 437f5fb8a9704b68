"""An inventory that other tools read too: ours have a namespace beside the bare names, and a clash is told as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard.errors import NameTaken, SettingUnknown, SettingWrong
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.read import read_fleet
from steelyard.site.resolve import site_of
from steelyard.site.validation import check_settings

FOREIGN = "gateway: 10.4.0.1\nbase: /opt\ndocker: {users: []}\nmodels: []\n"


def fleet(folder: Path, said: str) -> Fleet:
    (folder / "group_vars").mkdir(parents=True, exist_ok=True)
    (folder / "hosts.yml").write_text("all: {children: {gpu: {hosts: {g1: }}}}\n")
    (folder / "group_vars/all.yml").write_text(said)
    return read_fleet(folder)


def test_another_tools_names_are_told_as_a_clash_with_the_way_out(tmp_path: Path) -> None:
    errors = check_settings(fleet(tmp_path, FOREIGN))
    assert [(type(error), error.where.rpartition(":")[2]) for error in errors] == [
        (NameTaken, "2"),
        (NameTaken, "3"),
        (NameTaken, "1"),
        (NameTaken, "4"),
    ]
    [gateway] = [error for error in errors if isinstance(error, NameTaken) and error.name == "gateway"]
    assert "`gateway` here is no section of steelyard: it holds '10.4.0.1'" in str(gateway)
    assert "`steelyard_gateway`" in gateway.remedy


def test_a_slip_in_a_section_of_ours_is_no_clash(tmp_path: Path) -> None:
    [error] = check_settings(fleet(tmp_path, "gateway: {prt: 1}\n"))
    assert isinstance(error, SettingUnknown)


OURS = {"gateway": "{port: 8081}", "models": '{llm/tiny: {version: v1, source: "file:///m", serve: {hosts: gpu}}}'}


@pytest.mark.parametrize("form", ["beside", "together"])
@pytest.mark.parametrize("again", [False, True])
def test_ours_in_the_namespace_leave_the_bare_names_to_others(tmp_path: Path, form: str, again: bool) -> None:
    if form == "beside":
        ours = "".join(f"steelyard_{name}: {text}\n" for name, text in OURS.items())
        ours += "steelyard_base: {}\nsteelyard_docker: {}\n"
    else:
        ours = "steelyard:\n" + "".join(f"  {name}: {text}\n" for name, text in OURS.items())
    read = fleet(tmp_path, FOREIGN + ours)
    read = read_fleet(tmp_path) if again else read
    assert check_settings(read) == []
    assert read.host("g1").variables["gateway"] == {"port": 8081}
    assert [service.host for service in site_of(read).services] == ["g1"]
    assert (read.host("g1").variables.get("docker") or {}) == {}


def test_templates_of_another_tool_under_a_name_of_ours_are_not_evaluated(tmp_path: Path) -> None:
    read = fleet(
        tmp_path, 'gateway: "{{ ansible_default_ipv4.gateway }}"\nsteelyard_gateway: {port: "{{ 8000 + 1 }}"}\n'
    )
    assert read.host("g1").unresolved == {}
    assert read.host("g1").variables["gateway"] == {"port": 8001}


@pytest.mark.parametrize("said", ["steelyard_gateway:\n  port: many\n", "steelyard:\n  gateway: {port: many}\n"])
def test_what_is_wrong_in_the_namespace_has_its_line(tmp_path: Path, said: str) -> None:
    [error] = check_settings(fleet(tmp_path, said))
    assert isinstance(error, SettingWrong)
    assert error.where == f"{tmp_path}/group_vars/all.yml:2"


def test_a_name_in_the_namespace_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    [error] = check_settings(fleet(tmp_path, "steelyard: {gatway: {port: 1}}\n"))
    assert isinstance(error, SettingUnknown)
    assert "`gateway`" in error.remedy


def test_files_of_other_programs_in_a_folder_are_passed_over_and_broken_ones_with_hosts_are_not(tmp_path: Path) -> None:
    from steelyard.errors import FileSyntaxWrong, InventoryUnreadable

    fleet(tmp_path, "rack: a\n")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/admin.conf").write_text("apiVersion: v1\nkind: Config\nclusters: []\n")
    (tmp_path / "requirements.yml").write_text("collections:\n  - name: a.b\n")
    (tmp_path / "Makefile").write_text("all:\n\ttrue\n")
    assert [host.name for host in read_fleet(tmp_path).hosts] == ["g1"]
    for name, text in (("more.yml", "gpu:\n  hosts: [g2]\n"), ("more.yml", "a: [\n"), ("hosts-2", "[gpu\ng2\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises((FileSyntaxWrong, InventoryUnreadable), match=name):
            read_fleet(tmp_path)
        (tmp_path / name).unlink()


BESIDE = {
    "two documents": ("deploy.yml", "kind: Service\n---\nkind: Deployment\n"),
    "a key twice": ("mkdocs.yml", "nav: 1\nnav: 2\n"),
    "a tag of another program": ("stack.yaml", "Parts: !Sub x\n"),
    "a comma too much": ("package.json", '{"name": "x",}\n'),
    "variables of no group": ("group_vars/Makefile", "all:\n\ttrue\n"),
    "variables of no host": ("host_vars/gone/main.yml", "a: [\n"),
    "a backup of variables": ("group_vars/all.yml.orig", "a: [\n"),
    "in a folder": ("charts/web/values.yml", "a: 1\na: 2\n"),
}


@pytest.mark.parametrize(("name", "text"), BESIDE.values(), ids=BESIDE)
def test_a_file_that_ansible_does_not_read_may_be_what_it_likes(tmp_path: Path, name: str, text: str) -> None:
    fleet(tmp_path, "rack: a\n")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    [host] = read_fleet(tmp_path).hosts
    assert host.variables["rack"] == "a"


@pytest.mark.parametrize(
    "name", ["more/gpu.yml", "group_vars/gpu/a/b.yml", "host_vars/g1", "group_vars/ungrouped.yaml"]
)
def test_one_that_it_reads_may_not(tmp_path: Path, name: str) -> None:
    from steelyard.errors import FileSyntaxWrong

    fleet(tmp_path, "rack: a\n")
    (tmp_path / "hosts.yml").write_text("gpu:\n  hosts: {g1: }\n")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("gpu:\n  hosts: [g2\n")
    with pytest.raises(FileSyntaxWrong, match=f"{name}:2"):
        read_fleet(tmp_path)


def test_group_vars_of_a_sub_folder_are_read_no_more_than_ansible_reads_them(tmp_path: Path) -> None:
    (tmp_path / "prod/sub/group_vars").mkdir(parents=True)
    (tmp_path / "prod/sub/hosts.yml").write_text("all: {hosts: {g1: }}\n")
    (tmp_path / "prod/sub/group_vars/all.yml").write_text("rack: of-the-sub-folder\n")
    assert "rack" not in read_fleet(tmp_path / "prod").host("g1").variables
    assert read_fleet(tmp_path / "prod/sub").host("g1").variables["rack"] == "of-the-sub-folder"
