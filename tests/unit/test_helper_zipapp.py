"""What hosts get as the helper is the program of the sources, without what only readers need."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import steelyard_host
from steelyard.artifacts.helper import SENT_APART, helper_bytes, packed, without_prose

FOLDER = Path(str(steelyard_host.__file__)).parent
SOURCES = [*sorted(FOLDER.rglob("*.py")), Path(str(import_module("pynvml").__file__))]


def program(source: str) -> str:
    """The syntax tree as text, with every text that stands alone empty, and without what only type checkers read."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
    return ast.dump(tree)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_without_prose_it_is_the_same_program_on_the_same_lines(path: Path) -> None:
    source = path.read_text()
    bare = without_prose(source)
    assert program(bare) == program(source)
    assert bare.count("\n") == source.count("\n")


def test_a_packed_library_is_the_same_program() -> None:
    library = SOURCES[-1].read_text()
    assert program(packed(library)) == program(library)
    assert packed("A  =  1\n\n\nif A:\n\n    B = '  =  '\n") == "A=1\nif A:\n    B='  =  '\n"
    assert packed("A = [\n    1,\n    2 * 3,\n]\n(a, b) = A[0],\n") == "A=[1,2*3,\n]\n(a,b)=A[0],\n"


def test_a_text_that_is_no_docstring_and_a_license_stay() -> None:
    source = '# Copyright\n"""Goes,\nall."""\nY = "# stays"  # goes\n# goes\n'
    assert without_prose(source) == '# Copyright\n""\n\nY = "# stays"\n\n'
    source = '"""Goes."""\nX = """\n# stays\n"""\n'
    assert without_prose(source) == '""\nX = """\n# stays\n"""\n'


def test_what_only_a_type_checker_reads_stays_at_home() -> None:
    source = "if TYPE_CHECKING:\n    from a import b\n\n    C = b\n\nelse:\n    C = 1\nD = 2\n"
    assert without_prose(source) == "if TYPE_CHECKING:\n    pass\n\n\n\nelse:\n    C = 1\nD = 2\n"


def test_the_zipapp_holds_every_module_and_runs(tmp_path: Path) -> None:
    path = tmp_path / "helper.pyz"
    path.write_bytes(helper_bytes())
    names = zipfile.ZipFile(io.BytesIO(helper_bytes())).namelist()
    assert {
        f"steelyard_host/{source.relative_to(FOLDER)}" for source in SOURCES[:-1] if source.name != SENT_APART
    } < set(names)
    done = subprocess.run(
        [sys.executable, "-I", str(path), "store-state", str(tmp_path), "p", "v"], capture_output=True
    )
    assert done.returncode == 0, done.stderr


WAITING = """
import sys
from importlib import import_module

def main():
    for name in sys.stdin:
        import_module(name.strip())
        print(name.strip(), flush=True)
    return 0
"""


def test_a_running_helper_does_not_notice_that_it_is_replaced(tmp_path: Path) -> None:
    """An apply brings a newer helper while engines start and drain: whatever they load later is of the one they began
    with.
    """
    path = tmp_path / "helper.pyz"
    members = zipfile.ZipFile(io.BytesIO(helper_bytes()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in members.namelist():
            archive.writestr(name, WAITING if name == "steelyard_host/__main__.py" else members.read(name))
    modules = [
        name[: -len(".py")].replace("/", ".")
        for name in members.namelist()
        if name.endswith(".py") and not name.endswith(("__init__.py", "__main__.py"))
    ]
    pipe = subprocess.PIPE
    running = subprocess.Popen([sys.executable, "-I", str(path)], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert running.stdin and running.stdout
    for count, module in enumerate(modules):
        newer = tmp_path / "newer"
        with zipfile.ZipFile(newer, "w") as archive:
            archive.writestr("__main__.py", "raise SystemExit('another helper')\n" * (count + 1))
        if count:  # once it waits: that it runs, its first answer says
            newer.replace(path)
        running.stdin.write(f"{module}\n")
        running.stdin.flush()
        answer = running.stdout.readline()
        assert answer == f"{module}\n", running.communicate()[1]
    assert len(modules) > 50
    assert running.communicate() == ("", "")
    assert running.returncode == 0
