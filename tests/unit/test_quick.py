"""What is worked out once gives the same answers as what pyinfra and paramiko work out every time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyinfra
import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.exceptions import ArgumentTypeError, NoConnectorError
from pyinfra.api.util import get_operation_order_from_stack
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.context import ctx_host, ctx_state

from steelyard.engine import quick


def made(**data: Any) -> tuple[State, Any]:
    inventory = Inventory(([("@fake/h", {"_sudo": True, "ports": [1], **data})], {"site": "s"}), gpu=(["@fake/h"], {"rack": 7}))
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
    names = {"seen": seen, "state": state, "call_order": quick.call_order, "original": get_operation_order_from_stack}
    exec(compile(deploy.read_text(), str(deploy), "exec"), names)
    assert len(seen) == 4
    assert all(ours == theirs for ours, theirs in seen)
    assert len({tuple(ours) for ours, _ in seen}) == 3


def test_host_data_is_found_in_the_same_places_and_cannot_be_changed_through_a_copy() -> None:
    _, slow = made()
    _, host = made()
    quick.quicken_host(host)
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
    ],
)
@pytest.mark.parametrize("around", [None, {"_sudo_user": "ops", "_env": {"C": "d"}}])
def test_global_arguments_are_pyinfras(kwargs: dict[str, Any], around: dict[str, Any] | None) -> None:
    answers = []
    for pop in (quick.ORIGINAL_ARGUMENTS, quick.quick_arguments, quick.quick_arguments):
        state, host = made()
        quick.quicken_host(host)
        with ctx_state.use(state), ctx_host.use(host):
            if around is not None:
                host.current_deploy_kwargs = {**quick.ORIGINAL_ARGUMENTS(state, host, {})[0], **around}
            left = dict(kwargs)
            found, keys = pop(state, host, left)
            answers.append((dict(found), sorted(keys), left))
    assert answers[0] == answers[1] == answers[2]


def test_a_wrong_argument_is_refused_as_pyinfra_does() -> None:
    state, host = made()
    quick.quicken_host(host)
    with pytest.raises(ArgumentTypeError, match="_sudo"):
        quick.quick_arguments(state, host, {"_sudo": "yes"})


def test_a_changed_configuration_is_seen() -> None:
    state, host = made()
    quick.quicken_host(host)
    before = quick.quick_arguments(state, host, {})[0]["_retries"]
    state.config.RETRY = 4
    assert (before, quick.quick_arguments(state, host, {})[0]["_retries"]) == (0, 4)


def test_everything_is_put_in_place() -> None:
    quick.quicken()
    import paramiko.util

    assert sys.modules["pyinfra.api.operation"].get_operation_order_from_stack is quick.call_order  # type: ignore[attr-defined]
    assert sys.modules["pyinfra.api.facts"].pop_global_arguments is quick.quick_arguments  # type: ignore[attr-defined]
    same = paramiko.util.constant_time_bytes_eq
    assert same(b"abc", b"abc")
    assert not same(b"abc", b"abd")
    assert not same(b"abc", b"abcd")


def test_known_hosts_are_found_as_paramiko_finds_them(tmp_path: Path) -> None:
    from paramiko import ECDSAKey, HostKeys

    key, other = ECDSAKey.generate(), ECDSAKey.generate()
    listed = HostKeys()
    for number in range(50):
        listed.add(f"10.0.0.{number}", key.get_name(), key)
    listed.add("[10.0.0.7]:2222", other.get_name(), other)
    listed.add(HostKeys.hash_host("hashed.example"), other.get_name(), other)
    for name in ("10.0.0.7", "[10.0.0.7]:2222", "hashed.example", "10.0.1.1", "hashed.example.org"):
        theirs, ours = quick.ORIGINAL_LOOKUP(listed, name), quick.quick_lookup(listed, name)
        assert (theirs is None) == (ours is None), name
        if theirs is not None:
            assert {kind: found.asbytes() for kind, found in theirs.items()} == {
                kind: found.asbytes() for kind, found in ours.items()
            }
    listed.add("10.0.1.1", key.get_name(), key)
    assert quick.quick_lookup(listed, "10.0.1.1") is not None, "a name that was added later"


def test_an_inventory_is_the_same_without_a_look_at_installed_connectors() -> None:
    """Names that ask for another connector still find it."""

    def inventory(names: list[str]) -> list[tuple[str, list[str], type]]:
        found = Inventory(([(name, {}) for name in names], {}), gpus=(names[:1], {}))
        return [(host.name, [*host.groups], host.connector_cls) for host in found]

    for names in (["a", "b"], ["@local", "b"]):
        theirs = inventory(names)
        with quick.quick_connectors(names, SSHConnector):
            assert inventory(names) == theirs
    with quick.quick_connectors(["a"], SSHConnector), pytest.raises(NoConnectorError):
        inventory(["@local"])
    assert inventory(["@local"])
