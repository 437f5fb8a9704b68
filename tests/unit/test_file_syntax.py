"""Mistakes that people make in files: each is told in one sentence with its line and its mend; no secret is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.api.file_syntax import json_fault, read_yaml, shown_line, yaml_fault
from steelyard.artifacts.images import read_images
from steelyard.drift.exceptions import read_exceptions
from steelyard.errors import FileSyntaxWrong, LabDescriptionWrong, SteelyardError, show
from steelyard.inventory.ansible import encrypt_value, read_ansible
from steelyard.lab.nspawn.spec import hosts_of


class Mistake(NamedTuple):
    text: str
    line: int
    found: str
    mend: str


MISTAKES = {
    "tab": Mistake("models:\n\tx: 1\n", 2, "a tab indents", "spaces"),
    "tab_in_a_list": Mistake("a:\n  - b\n\t- c\n", 3, "a tab indents", "spaces"),
    "tab_behind_spaces": Mistake("a:\n  b:\n  \tc: 1\n", 3, "a tab indents", "spaces"),
    "open_double_quote": Mistake('a:\n  x: "abc\n  y: 2\n', 2, "a quote that is never closed", "close the quote"),
    "open_single_quote": Mistake("a: 'abc\nb: 2\n", 1, "a quote that is never closed", "close the quote"),
    "quote_closed_by_a_later_one": Mistake('a: "x\nb: "y"\n', 1, "a quote that is not closed", "close the quote"),
    "text_behind_a_quote": Mistake('a: "x" y\n', 1, "text behind a closed quote", "one pair"),
    "deeper_than_its_sibling": Mistake("a:\n  x: 1\n   y: 2\n", 3, "an indentation", "as many spaces"),
    "less_deep_than_its_sibling": Mistake("a:\n  x: 1\n y: 2\n", 3, "an indentation", "as many spaces"),
    "key_twice": Mistake("a:\n  x: 1\n  x: 2\n", 3, "`x` is said twice, first in line 2", "keep one"),
    "key_twice_at_the_top": Mistake("a: 1\nb: 2\na: 3\n", 3, "`a` is said twice, first in line 1", "keep one"),
    "template": Mistake("a: {{ lookup('env', 'X') }}\n", 1, "a template without quotes", "quotes"),
    "template_in_a_list": Mistake("a:\n  - {{ x }}\n", 2, "a template without quotes", "quotes"),
    "template_with_more": Mistake("a: {{ x }}/y\n", 1, "a template without quotes", "quotes"),
    "second_colon": Mistake("a:\n  why: this: that\n", 2, "a second colon", "quotes"),
    "no_space_behind_a_colon": Mistake("a:\n  x:1\n  y: 2\n", 2, "no space behind the colon", "a space"),
    "no_space_behind_a_dash": Mistake("a:\n  - b\n  -c\n", 3, "no space behind the dash", "a space"),
    "line_without_a_colon": Mistake("a: 1\nwords\nb: 2\n", 2, "neither `key: value`", "colon"),
    "open_bracket": Mistake("a: [1, 2\nb: 3\n", 1, "`[` without its `]`", "close it"),
    "open_brace_at_the_end": Mistake("all: {hosts: {g1: \n", 1, "`{` without its `}`", "close it"),
    "open_brace": Mistake("a: {x: 1\nb: 3\n", 1, "`{` without its `}`", "close it"),
    "at_sign": Mistake("a: @home\n", 1, "cannot begin with '@'", "quotes"),
    "backtick": Mistake("a:\n  b: `x`\n", 2, "cannot begin with '`'", "quotes"),
    "star": Mistake("a: *.example.org\n", 1, "a `*` or `&`", "quotes"),
    "backslash": Mistake('a: "C:\\dir"\n', 1, "a backslash", "single quotes"),
    "second_document": Mistake("a: 1\n---\nb: 2\n", 2, "a second document", "one document"),
    "conflict": Mistake("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> other\n", 2, "a conflict", "one side"),
    "control_character": Mistake("a: 1\nb: x\x07y\n", 2, "U+0007", "remove"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_where_it_is_with_its_mend(name: str) -> None:
    mistake = MISTAKES[name]
    fault = yaml_fault(mistake.text)
    assert fault is not None
    assert (fault.line, mistake.found in fault.mistake) == (mistake.line, True), fault
    assert mistake.mend in fault.mend
    line = mistake.text.split("\n")[fault.line - 1]
    assert 1 <= fault.column <= len(line) + 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "a: 1\n",
        "---\na: [1, {b: c}]\n...\n",
        "a: &x {b: 1}\nc:\n  <<: *x\n  <<: *x\n",
        "a: &x\n  b: *x\n",
        "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nb: !unsafe '{{ x }}'\n",
        "a: '{{ x }}'\nurl: http://x:80/\ntime: 12:30\n",
        "a: |\n  {{ x }}: y\n  \tz\n",
        "\ufeffa: 1\r\nb: 2\r\n",
    ],
)
def test_what_is_well_has_no_fault(text: str) -> None:
    assert yaml_fault(text) is None


@given(st.text(alphabet="ab:-[]{}\"'|>&*!%@`#\t\n ,?~", max_size=40))
def test_no_text_brings_it_down_and_every_fault_has_a_place(text: str) -> None:
    import yaml

    fault = yaml_fault(text)
    if fault is not None:
        assert fault.line >= 1 <= fault.column
        assert fault.mistake
        assert fault.mend
    else:
        yaml.compose(text, yaml.CSafeLoader)  # nothing that ansible-core's parser refuses is called well


JSONS = {
    "trailing_comma": ('{"a": 1,\n}', 2, "remove the comma"),
    "single_quotes": ("{\n'a': 1}", 2, "double quotes"),
    "comment": ('{"a": 1, // x\n "b": 2}', 1, "no comments"),
    "no_comma": ('{"a": 1\n "b": 2}', 2, "missing comma"),
    "empty": ("", 1, "`{}`"),
    "open": ('{"a": [1, 2', 1, "bracket"),
}


@pytest.mark.parametrize("name", JSONS)
def test_a_mistake_in_json_is_told_with_its_line(name: str) -> None:
    text, line, mend = JSONS[name]
    fault = json_fault(text)
    assert fault is not None
    assert fault.line == line
    assert mend in fault.mend


# Every file that is read for the user


def site(tmp_path: Path) -> Path:
    (tmp_path / "group_vars/all").mkdir(parents=True)
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    h1:\n")
    return tmp_path


PLACES = ("hosts.yml", "group_vars/all/models.yml", "group_vars/all.yml", "host_vars/h1.yml", "group_vars/all/roles")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", MISTAKES)
def test_an_inventory_with_a_mistake_is_refused_with_file_and_line(tmp_path: Path, place: str, name: str) -> None:
    root = site(tmp_path)
    if place == "group_vars/all.yml":
        (root / "group_vars/all").rmdir()
    (root / place).write_text(MISTAKES[name].text)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(FileSyntaxWrong) as caught:
        read_ansible(root)
    assert caught.value.where == f"{root / place}:{MISTAKES[name].line}"
    assert len(show(caught.value).splitlines()) == 2
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", MISTAKES)
def test_exceptions_images_and_labs_are_told_alike(tmp_path: Path, name: str) -> None:
    for read in (read_exceptions, read_images, lambda path: hosts_of(1, path)):
        path = tmp_path / "file.yml"
        path.write_text(MISTAKES[name].text)
        with pytest.raises(FileSyntaxWrong) as caught:
            read(path)
        assert caught.value.where == f"{path}:{MISTAKES[name].line}"


@pytest.mark.parametrize("text", ["hosts: 1\n", "- a\n", "", "hosts: []\n", "hosts: [{groups: [a]}]\n"])
def test_a_description_of_a_lab_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.yml").write_text(text)
    with pytest.raises(LabDescriptionWrong):
        hosts_of(1, tmp_path / "lab.yml")


@pytest.mark.parametrize(
    ("text", "line"),
    [("[gpu\nh1\n", 1), ("[gpu]\nh1 a=1\n\n[gpu:vars]\nwords\n", 5), ("h1\n[gpu:chldren]\nx\n", 2), ('h1 a="x\n', 1)],
)
def test_a_source_of_hosts_in_ini_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "hosts.ini").write_text(text)
    with pytest.raises(FileSyntaxWrong) as caught:
        read_ansible(tmp_path / "hosts.ini")
    assert caught.value.where == f"{tmp_path / 'hosts.ini'}:{line}"


@pytest.mark.parametrize("name", JSONS)
def test_variables_in_json_are_told_with_their_line(tmp_path: Path, name: str) -> None:
    root = site(tmp_path)
    (root / "host_vars/h1.json").write_text(JSONS[name][0])
    with pytest.raises(FileSyntaxWrong) as caught:
        read_ansible(root)
    assert caught.value.where == f"{root / 'host_vars/h1.json'}:{JSONS[name][1]}"


@pytest.mark.parametrize("text", ["[defaults\nx = 1\n", "x = 1\n", "[defaults]\nx\n"])
def test_an_ansible_cfg_that_cannot_be_read_is_no_traceback(tmp_path: Path, text: str) -> None:
    """In a process of its own: ansible-core reads it once, when it is imported."""
    root = site(tmp_path / "inventory")
    (tmp_path / "ansible.cfg").write_text(text)
    words = [sys.executable, "-m", "steelyard.cli.main", "status", "-i", str(root), "--json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    assert json.loads(done.stdout)["error"] == "FileSyntaxWrong"
    assert "ansible.cfg:" in json.loads(done.stdout)["where"]
    assert done.returncode == 1


def test_a_file_that_is_no_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_bytes(b"a: 1\nb: gr\xfcn\n")
    with pytest.raises(FileSyntaxWrong, match=r"x\.yml:2: byte 0xfc is not UTF-8"):
        read_yaml(tmp_path / "x.yml")


# Secrets

KEY = "sk-not-to-be-seen-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"vllm:\n\tapi_key: {KEY}\n",
        f'gateway:\n  clients:\n    dify: "{KEY}\n',
        f"hf_token: {KEY}\nhf_token: {KEY}\n",
        f"gateway:\n  clients: {{dify: {KEY}\n",
        f"ansible_ssh_pass: '{KEY}' {KEY}\n",
        f"gateway:\n  clients:\n    dify: a\n     dify: {KEY}: 1\n",
        f"words {KEY}\nx: 1\n",
    ],
)
def test_the_line_of_a_mistake_shows_no_secret(tmp_path: Path, text: str) -> None:
    root = site(tmp_path)
    (root / "group_vars/all/roles.yml").write_text(text)
    with pytest.raises(SteelyardError) as caught:
        read_ansible(root)
    assert isinstance(caught.value, FileSyntaxWrong)
    assert KEY not in show(caught.value) + str(caught.value.as_json())


def test_a_mistake_in_an_encrypted_file_has_a_line_and_shows_nothing(tmp_path: Path) -> None:
    root = site(tmp_path)
    (root / ".vault-password").write_text("x\n")
    (root / "group_vars/all/roles.yml").write_text(encrypt_value("a: 1\nb:\n\twords: 2\n", root / ".vault-password"))
    with pytest.raises(FileSyntaxWrong) as caught:
        read_ansible(root)
    assert caught.value.where.endswith("roles.yml:3")
    assert caught.value.text == "(hidden)"


def test_a_line_is_shown_where_it_is_no_secret() -> None:
    lines = ["models:", "  llm/tiny:", "    version: v2", "vllm:", "  api_key: x"]
    assert shown_line(lines, 3) == "version: v2"
    assert shown_line(lines, 5) == "api_key: (hidden)"
    assert shown_line(["x: " + "y" * 200], 1).endswith("...")
