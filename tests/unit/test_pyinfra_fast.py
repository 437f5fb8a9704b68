"""What is worked out once gives the same answers as what pyinfra and paramiko work out every time."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import pyinfra
import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.exceptions import ArgumentTypeError, NoConnectorError
from pyinfra.api.host import Host
from pyinfra.api.util import get_operation_order_from_stack
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.context import ctx_host, ctx_state, host

from steelyard.engine import pyinfra_fast


def made(**data: Any) -> tuple[State, Any]:
    inventory = Inventory(
        ([("@fake/h", {"_sudo": True, "ports": [1], **data})], {"site": "s"}), gpu=(["@fake/h"], {"rack": 7})
    )
    state = State(inventory, Config(), check_for_changes=False)
    return state, next(iter(inventory))


DEPLOY = """
def role():
    seen.append((call_order(state), original(state)))
    [other() for other in (role_of_role,)]
def role_of_role():
    seen.append((call_order(state), original(state)))
role()
for number in range(2):
    role_of_role()
"""


@pytest.mark.parametrize("is_cli", [True, False])
def test_the_call_order_is_pyinfras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_cli: bool) -> None:
    monkeypatch.setattr(pyinfra, "is_cli", is_cli)
    deploy = tmp_path / "deploy.py"
    deploy.write_text(DEPLOY)
    state, _ = made()
    state.current_deploy_filename = str(deploy)
    seen: list[tuple[list[int], list[int]]] = []
    # each on its own line of the deploy, so the last number is that line for both
    names = {
        "seen": seen,
        "state": state,
        "call_order": pyinfra_fast.call_order,
        "original": get_operation_order_from_stack,
    }
    exec(compile(deploy.read_text(), str(deploy), "exec"), names)
    assert len(seen) == 4
    assert all(ours == theirs for ours, theirs in seen)
    assert len({tuple(ours) for ours, _ in seen}) == 3


def test_host_data_is_found_in_the_same_places_and_cannot_be_changed_through_a_copy() -> None:
    _, slow = made()
    _, host = made()
    pyinfra_fast.install_fast_host_data(host)
    for key in ("_sudo", "ports", "rack", "site"):
        assert host.data.get(key) == getattr(host.data, key) == slow.data.get(key)
    host.data.get("ports").append(2)
    assert host.data.get("ports") == [1]
    host.data.ports = [3]
    assert host.data.get("ports") == [3]
    assert host.data.get("nothing", 5) == 5
    with pytest.raises(AttributeError, match="has no data `nothing`"):
        host.data.nothing  # noqa: B018


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"_sudo": False, "path": "/x"},
        {"_env": {"A": "b"}, "_timeout": 5, "name": "n"},
        {"_chdir": "/x", "_retries": 2},
        {"_sudo": True, "_env": {}, "_retries": 0},
    ],
)
@pytest.mark.parametrize("around", [None, {"_sudo_user": "ops", "_env": {"C": "d"}}])
def test_global_arguments_are_pyinfras(kwargs: dict[str, Any], around: dict[str, Any] | None) -> None:
    answers = []
    for pop in (pyinfra_fast.ORIGINAL_ARGUMENTS, pyinfra_fast.fast_arguments, pyinfra_fast.fast_arguments):
        state, host = made()
        pyinfra_fast.install_fast_host_data(host)
        with ctx_state.use(state), ctx_host.use(host):
            if around is not None:
                host.current_deploy_kwargs = {**pyinfra_fast.ORIGINAL_ARGUMENTS(state, host, {})[0], **around}
            left = dict(kwargs)
            found, keys = pop(state, host, left)
            answers.append((dict(found), sorted(keys), left))
    assert answers[0] == answers[1] == answers[2]


def test_a_wrong_argument_is_refused_as_pyinfra_does() -> None:
    state, host = made()
    pyinfra_fast.install_fast_host_data(host)
    with pytest.raises(ArgumentTypeError, match="_sudo"):
        pyinfra_fast.fast_arguments(state, host, {"_sudo": "yes"})


def test_a_changed_configuration_is_seen() -> None:
    state, host = made()
    pyinfra_fast.install_fast_host_data(host)
    before = pyinfra_fast.fast_arguments(state, host, {})[0]["_retries"]
    state.config.RETRY = 4
    assert (before, pyinfra_fast.fast_arguments(state, host, {})[0]["_retries"]) == (0, 4)


def test_everything_is_put_in_place() -> None:
    pyinfra_fast.install_fast_paths()
    import paramiko.util

    assert sys.modules["pyinfra.api.operation"].get_operation_order_from_stack is pyinfra_fast.call_order  # type: ignore[attr-defined]
    assert sys.modules["pyinfra.api.facts"].pop_global_arguments is pyinfra_fast.fast_arguments  # type: ignore[attr-defined]
    same = paramiko.util.constant_time_bytes_eq
    assert same(b"abc", b"abc")
    assert not same(b"abc", b"abd")
    assert not same(b"abc", b"abcd")


class Asks:
    def plain(self, path: str, name: str = "n", *, sudo: bool = False) -> None: ...

    def of_a_fact(self, path: str, name: str = "n", deep: bool = True) -> None: ...

    def any_number(self, *paths: str, **further: str) -> None: ...


@pytest.mark.parametrize("method", ["plain", "of_a_fact", "any_number"])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("/a",), {}),
        (("/a", "b"), {}),
        (("/a",), {"name": "c"}),
        ((), {"name": "c", "path": "/a"}),
        ((), {"deep": False, "path": "/a"}),
        ((), {}),
        (("/a",), {"path": "/b"}),
        (("/a", "b", True, 4), {}),
        (("/a",), {"unknown": 1}),
    ],
)
def test_arguments_of_a_fact_are_pythons_own(method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Of values, of their order, and of what is refused with which words."""
    bound = getattr(Asks(), method)
    answers: list[object] = []
    for called in (inspect.getcallargs, pyinfra_fast.fast_call_arguments):
        try:
            answers.append(list(called(bound, *args, **kwargs).items()))
        except TypeError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]


def test_a_context_gives_what_is_set_in_it_or_of_its_class() -> None:
    pyinfra_fast.install_fast_paths()
    _, found = made()
    with ctx_host.use(found):
        assert host.name == "@fake/h"
    unset = type(host)()
    unset._base_cls = Host
    assert unset.get_fact is Host.get_fact
    with pytest.raises(AttributeError, match="no_such"):
        unset.no_such  # noqa: B018


def test_an_inventory_is_the_same_without_a_look_at_installed_connectors() -> None:
    """Names that ask for another connector still find it."""

    def inventory(names: list[str]) -> list[tuple[str, list[str], type]]:
        found = Inventory(([(name, {}) for name in names], {}), gpus=(names[:1], {}))
        return [(host.name, [*host.groups], host.connector_cls) for host in found]

    for names in (["a", "b"], ["@local", "b"]):
        theirs = inventory(names)
        with pyinfra_fast.fast_connectors(names, SSHConnector):
            assert inventory(names) == theirs
    with pyinfra_fast.fast_connectors(["a"], SSHConnector), pytest.raises(NoConnectorError):
        inventory(["@local"])
    assert inventory(["@local"])
