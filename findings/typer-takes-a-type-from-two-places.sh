#!/usr/bin/env bash
# typer 0.28.0: where a parameter's type is read depends on how it is written.
#
# A decorator may give a command another signature (`__signature__`), for instance to parse what it got as text. typer
# reads the parameters from the signature, and of one that is `Annotated[...]` the type too; the type of a plain one it
# reads from `__annotations__`, which functools.wraps has copied from the function underneath, whenever a parameter of
# that name was there. So of two options with the same change of type, the plain one keeps the old type silently.
# Whoever sets `__signature__` has to set `__annotations__` as well.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "typer==0.28.0" "click==8.5.1"
cat >"$work/look.py" <<'PYTHON'
import functools
import inspect
from typing import Annotated

import typer
from typer.testing import CliRunner


def count(plain: str = "0", annotated: str = "0") -> None:
    print(type(plain).__name__, type(annotated).__name__)


def command(with_annotations: bool) -> typer.Typer:
    @functools.wraps(count)
    def called(**given: object) -> None:
        count(**given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("plain", keyword, default=0, annotation=int),
        inspect.Parameter("annotated", keyword, default=0, annotation=Annotated[int, typer.Option()]),
    ]
    called.__signature__ = inspect.Signature(parameters)
    if with_annotations:
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app = typer.Typer()
    app.command()(called)
    return app


for with_annotations in (False, True):
    print(CliRunner().invoke(command(with_annotations), ["--plain", "3", "--annotated", "3"]).output.strip())
PYTHON
seen=$("$work/venv/bin/python" "$work/look.py")
echo "$seen"
test "$seen" = $'str int\nint int' || { echo "changed"; exit 1; }
# seen: "str int" with the signature alone, "int int" with the annotations too
