"""Clients of the gateway: keys that are valid at once, each until its end; and what a plan says where they change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from steelyard.modules.operations.proxy_keys import client_changes, lost_at_once
from steelyard.roles.gateway.clients import end_lines, key_lines
from steelyard.roles.gateway.config import peers
from steelyard.roles.gateway.settings import Settings
from steelyard.serving.key_ends import NEVER
from steelyard.site.secret_settings import is_on_a_path, secret_paths
from steelyard.site.site import Site

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64
END = 1_798_761_600  # 2027-01-01


def settings(**clients: Any) -> Settings:
    return Settings.model_validate({"clients": clients})


def test_key_alone_is_a_client_with_one_key_without_an_end() -> None:
    [key] = settings(demo="sk-one").clients["demo"].keys
    assert (key.key.get_secret_value(), key.end) == ("sk-one", NEVER)


@pytest.mark.parametrize(
    ("until", "end"),
    [
        (date(2026, 12, 31), END),
        ("2026-12-31", END),
        ("2026-12-31T23:59:00Z", END - 60),
        ("2027-01-01T01:00:00+01:00", END),
        (datetime(2026, 12, 31, 12, tzinfo=UTC), END - 43_200),
        ("2999-12-31", NEVER),
        (date.max, NEVER),
    ],
)
def test_date_is_valid_to_the_end_of_its_day_and_a_time_is_that_moment(until: Any, end: int) -> None:
    [key] = settings(demo={"keys": [{"key": "sk-one", "until": until}]}).clients["demo"].keys
    assert key.end == end


@pytest.mark.parametrize(
    "client",
    [
        {"keys": []},
        {"keys": [{"key": "sk-one", "until": "2026-12-31T18:00:00"}]},
        {"keys": [{"key": "sk-one", "until": "soon"}]},
        {"keys": [{"key": ""}]},
        {"keys": [{"key": "sk-one"}, {"key": "sk-one"}]},
        5,
    ],
)
def test_clients_that_are_refused(client: Any) -> None:
    with pytest.raises(ValidationError):
        settings(demo=client)


def test_two_clients_with_one_key_are_refused_without_naming_it() -> None:
    with pytest.raises(ValidationError) as refused:
        settings(one="sk-same-key", two="sk-same-key")
    assert "`clients.two`" in str(refused.value.errors()[0]["msg"])
    assert "sk-same-key" not in str(refused.value.errors()[0]["msg"])


def test_newest_key_is_the_last_without_an_end_or_the_one_that_ends_last() -> None:
    first, second = {"key": "sk-a", "until": "2030-01-01"}, {"key": "sk-b", "until": "2029-01-01"}
    cases = {
        "sk-a": [[first, second], [second, first]],
        "sk-c": [[first, {"key": "sk-c"}, second]],
        "sk-d": [[{"key": "sk-c"}, {"key": "sk-d"}], [{"key": "sk-c", "until": "2999-12-31"}, {"key": "sk-d"}]],
    }
    for newest, declared in cases.items():
        for keys in declared:
            assert settings(demo={"keys": keys}).clients["demo"].newest.key.get_secret_value() == newest


def test_maps_hold_hashes_and_ends_and_no_key() -> None:
    clients = settings(demo={"keys": [{"key": "sk-a", "until": "2026-12-31"}, {"key": "sk-b"}]}, dify="sk-c").clients
    keys, ends = key_lines(clients), end_lines(clients)
    assert [line.split(" ", 1)[1] for line in keys.splitlines()] == ["demo", "demo", "dify"]
    assert [line.split()[1] for line in ends.splitlines()] == [str(END)]
    assert "sk-" not in keys + ends


def test_settings_know_where_their_secrets_lie() -> None:
    paths = secret_paths(Settings)
    assert set(paths) == {("tls_pem",), ("clients", "*"), ("clients", "*", "keys", "*", "key")}
    assert is_on_a_path(("clients",), paths)
    assert is_on_a_path(("clients", "demo", "keys", 1, "key"), paths)
    assert not is_on_a_path(("clients", "demo", "keys", 1, "until"), paths)


def cut(**clients: dict[str, int]) -> dict[str, dict[str, int]]:
    return {name: {sha256[:12]: end for sha256, end in keys.items()} for name, keys in clients.items()}


@pytest.mark.parametrize(
    ("live", "declared", "sentences"),
    [
        ({"demo": {OLD: NEVER}}, (("demo", ((OLD, NEVER),)),), []),
        ({}, (("demo", ((OLD, NEVER),)),), ["client demo: new"]),
        ({"demo": {OLD: NEVER}}, (), ["client demo: removed, its keys are refused"]),
        (
            {"demo": {OLD: NEVER}},
            (("demo", ((OLD, END), (NEW, NEVER))),),
            ["client demo: another key, the one before is valid until 2027-01-01 00:00 UTC"],
        ),
        (
            {"demo": {OLD: NEVER}},
            (("demo", ((NEW, NEVER),)),),
            ["client demo: another key, and the one before is refused at once"],
        ),
        ({"demo": {OLD: END, NEW: NEVER}}, (("demo", ((NEW, NEVER),)),), ["client demo: a key is refused"]),
        (
            {"a": {OLD: NEVER}, "b": {OTHER: NEVER}},
            (("a", ((OLD, NEVER),)), ("c", ((OTHER, NEVER),))),
            ["client b: removed, its keys are refused", "client c: new"],
        ),
    ],
)
def test_plan_names_each_client_whose_keys_change(live: Any, declared: Any, sentences: list[str]) -> None:
    assert client_changes(cut(**live), declared) == sentences


def test_client_is_lost_at_once_only_where_none_of_its_keys_stays_declared() -> None:
    live = cut(demo={OLD: NEVER}, dify={OTHER: NEVER}, gone={NEW: NEVER})
    assert lost_at_once(live, (("demo", ((OLD, 1), (NEW, NEVER))), ("dify", ((NEW, NEVER),)))) == ["dify"]


def test_a_gateway_alone_listens_for_its_own_next_process_only() -> None:
    addresses = {"g1": "10.0.0.1", "g2": "10.0.0.2"}
    assert peers(Site("/m", {}, (), {}, addresses, {"gateway": ("g1",)})) == [("g1", "127.0.0.1")]
    both = Site("/m", {}, (), {}, addresses, {"gateway": ("g1", "g2")})
    assert peers(both) == [("g1", "10.0.0.1"), ("g2", "10.0.0.2")]
