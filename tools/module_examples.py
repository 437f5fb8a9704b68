"""Operations and facts of `modules/`, and one example of each from docs/reference/operations.yml, run without a host.

An example stands on a situation that the test suite has anyway, a case of tests/operations or tests/facts. Where a
situation cannot be written there, the example gives the raw lines of facts itself, or says which Dify it talks to.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from pyinfra.api.facts import FactBase
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.util import FakeHost, FakeState, get_command_string

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs/reference/operations.yml"
CASES = ROOT / "tests"
MODULES = "steelyard.modules"
HOST = "gpu-1"
PASSWORD = "passw0rd-of-an-example"


REGISTERED = {  # a model with a credential of ours, as the double takes it
    "model": "old",
    "model_type": "llm",
    "name": "steelyard",
    "credentials": {
        "display_name": "Old",
        "endpoint_url": "http://gw-1:8080/v1",
        "endpoint_model_name": "old",
        "api_key": "sk-0123456789",
        "context_size": "32768",
        "max_tokens_to_sample": "4096",
        "mode": "chat",
        "stream_mode_delimiter": "\\n\\n",
    },
}


@dataclass(frozen=True)
class Member:
    """An operation or a fact of `modules/`. `kind` is operations or facts; `name` is `file.member`, as in tests/."""

    kind: str
    name: str
    value: Any  # pyinfra's operation, or the class of the fact

    @property
    def file(self) -> str:
        """Name of the module without its suffix."""
        return self.name.partition(".")[0]

    @property
    def own(self) -> str:
        """Name within the module."""
        return self.name.partition(".")[2]

    @property
    def module(self) -> Any:
        """The imported module."""
        return import_module(f"{MODULES}.{self.kind}.{self.file}")

    @property
    def function(self) -> Any:
        """The function whose signature a caller fills: the operation itself, or the fact's `command`."""
        return self.value._inner if self.kind == "operations" else self.value.command

    def case(self, name: str) -> dict[str, Any]:
        """Read one of its situations. Raises OSError where there is none of this name."""
        case: dict[str, Any] = yaml.safe_load((CASES / self.kind / self.name / f"{name}.yaml").read_text())
        return case


@dataclass(frozen=True)
class Example:
    """A call of an operation as a role writes it. Either `case` or `facts` says what the host is like.

    `facts` maps `file.Fact` to raw lines, or to the name of a case of that fact; `dify` is `fresh`, `owned`,
    `registered` or `used`.
    """

    run: str
    where: str
    case: str | None = None
    facts: dict[str, str | list[str]] | None = None
    dify: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run of an example came to. `kwargs` are those of the call, `noop` the words where nothing changes."""

    kwargs: dict[str, Any]
    commands: list[Any]
    unknown: list[Any]
    noop: str | None


def members(kind: str) -> list[Member]:
    """List the operations, or the facts, in the order of files and lines."""
    listed = []
    for path in sorted((ROOT / "modules" / kind).glob("[a-z]*.py")):
        module = import_module(f"{MODULES}.{kind}.{path.stem}")
        for name, value in vars(module).items():
            is_fact = isinstance(value, type) and issubclass(value, FactBase)
            is_own = getattr(value, "__module__", "") == module.__name__
            if is_own and (is_fact if kind == "facts" else hasattr(value, "_inner")):
                listed.append(Member(kind, f"{path.stem}.{name}", value))
    return listed


def read_examples() -> tuple[dict[str, Example], dict[str, str]]:
    """Read the examples of operations, and the cases that are the examples of facts, both by `file.member`."""
    document = yaml.safe_load(EXAMPLES.read_text())
    return {name: Example(**fields) for name, fields in document["operations"].items()}, document["facts"]


class HostData(dict[str, Any]):
    """Host data that answer both to `data.name` and to `data.get(name)`, as pyinfra's do."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)


class ExampleHost(FakeHost):  # type: ignore[misc]
    """A host that answers facts from a case of the test suite, or from raw lines through the fact's own parser."""

    def __init__(self, values: dict[str, Any], lines: dict[str, list[str]], data: HostData) -> None:
        super().__init__(FakeState(), HOST, values, data)
        self.lines = lines

    def get_fact(self, fact_cls: type[FactBase[Any]], *args: Any, **kwargs: Any) -> Any:
        """Answer as the situation says. Raises KeyError for what it does not know."""
        lines = self.lines.get(self._get_fact_key(fact_cls))
        if lines is not None:
            fact = fact_cls()
            fact.command(*args, **kwargs)  # refuses arguments that the fact does not have, and some parsers need them
            return fact.process(lines)
        try:
            return super().get_fact(fact_cls, *args, **kwargs)
        except KeyError:  # cases name arguments as YAML has them, where a tuple is a list
            listed = {name: list(value) if isinstance(value, tuple) else value for name, value in kwargs.items()}
            return super().get_fact(fact_cls, *args, **listed)


def run_operation(member: Member, example: Example) -> Outcome:
    """Run an example's call. Raises TypeError for unknown arguments, and for a call without a name."""
    calls: list[dict[str, Any]] = []
    commands: list[Any] = []
    unknown: list[Any] = []

    def call(*, name: str, **kwargs: Any) -> None:
        assert name[0].isupper(), name
        calls.append(kwargs)
        commands.extend(member.function(**kwargs))

    values = member.case(example.case).get("facts", {}) if example.case is not None else {}
    lines = {fact: _lines(fact, given) for fact, given in (example.facts or {}).items()}
    host = ExampleHost(values, lines, HostData(host_name=HOST, file_unknown=unknown.append))
    names: dict[str, Any] = {"password": PASSWORD}
    *imports, last = _statements(example.run)
    with ctx_state.use(host.state), ctx_host.use(host), _dify(example.dify):
        for statement in imports:
            exec(statement, names)
        exec(last, {**names, member.own: call})
    assert len(calls) == 1, f"one call of {member.name}, not {len(calls)}"
    return Outcome(calls[0], commands, unknown, host.noop_description)


def _statements(text: str) -> list[str]:
    """Split Python text into its statements."""
    return [ast.unparse(statement) for statement in ast.parse(text).body]


def _lines(fact: str, given: str | list[str]) -> list[str]:
    """Return the raw lines of a fact, those of one of its cases where `given` is the name of that."""
    if isinstance(given, list):
        return given
    output: list[str] = yaml.safe_load((CASES / "facts" / fact / f"{given}.yaml").read_text())["output"]
    return output


@contextmanager
def _dify(state: str | None) -> Iterator[None]:
    """Answer the console API from the contract double, in this process; nothing where no Dify is asked for."""
    if state is None:
        yield
        return
    from dify_double.credential_forms import PROVIDERS
    from dify_double.router import PREFIX, Console, fresh_state
    from steelyard.dify.http import HttpResponse

    console = Console(fresh_state(), lambda *_: None)
    if state != "fresh":
        console.account.create_admin("ops@example.org", "admin", PASSWORD)
        console.preinstall(next(iter(PROVIDERS)))
    if state in ("registered", "used"):
        console.models.create(next(iter(PROVIDERS)), REGISTERED)
    if state == "used":
        console.state["defaults"]["llm"] = {"provider": next(iter(PROVIDERS)), "model": REGISTERED["model"]}

    def exchange(
        base: str, method: str, path: str, body: Any, headers: dict[str, str], timeout: float = 0
    ) -> HttpResponse:
        lower = {name.lower(): value for name, value in headers.items()}
        status, cookies, content = console.handle(method, PREFIX + path, lower, json.loads(json.dumps(body)))
        headers_out = (("X-Version", console.release), *(("Set-Cookie", cookie) for cookie in cookies))
        return HttpResponse(status, headers_out, content)

    import_module(f"{MODULES}.operations.dify").client_of.cache_clear()
    with patch("steelyard.dify.client.exchange", exchange):
        yield


@dataclass(frozen=True)
class FactExample:
    """A fact asked for once: the call, the command that runs, what the host prints and the value that comes of it."""

    call: str
    command: str
    lines: list[str]
    value: Any


def run_fact(member: Member, case: str) -> FactExample:
    """Run a fact on what a case says that its command printed."""
    situation = member.case(case)
    given = situation.get("arg", {})
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    output = situation["output"]
    lines = output.splitlines() if isinstance(output, str) else output
    fact = member.value()
    command = get_command_string(fact.command(**arguments))
    given_text = ", ".join((member.own, *(f"{name}={_literal(value)}" for name, value in arguments.items())))
    return FactExample(f"host.get_fact({given_text})", command.strip(), lines, fact.process(lines))


def _literal(value: Any) -> str:
    """Write a value as code of this project has it: texts in double quotes."""
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_literal, value)) + ("," if len(value) == 1 else "") + ")"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def meaning(value: Any) -> str:
    """Return the docstring, one line a paragraph. Raises ValueError where there is none."""
    text = inspect.getdoc(value)
    if not text:
        raise ValueError(f"{value} has no docstring")
    return re.sub(r"(?<!\n)\n(?![\n\s*-])", " ", text)
