"""Load balancing: switched on over what is declared, off without it, and what a human set up is not lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from dify_world import World, a_world

from steelyard.dify.desired_state import Credential


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def test_further_endpoints_share_the_requests_where_dify_can(tmp_path: Path) -> None:
    with a_world(tmp_path, balancing=True) as world:
        second = Credential("steelyard-second", {**world.model().fields, "context_size": "128"})
        model = dataclasses.replace(world.model(), further=(second,))
        assert world.converge(world.client(), model) == ["create", "create", "balance"]
        assert world.converge(world.client(), model) == []
        names = sorted(config["name"] for config in world.entry()["configs"])
        assert (world.entry()["balanced"], names) == (True, ["steelyard", "steelyard-second"])
        assert world.converge(world.client(), world.model()) == ["balance", "remove"]
        assert [c["name"] for c in world.entry()["credentials"]] == ["steelyard"]


def test_balancing_that_a_human_set_up_is_switched_off_and_stays_as_he_made_it(world: World) -> None:
    world.converge(world.client(), world.model())
    world.balance("tiny")
    assert world.converge(world.client(), world.model()) == ["balance"]
    assert world.converge(world.client(), world.model()) == []
    assert {config["name"]: config["enabled"] for config in world.entry()["configs"]} == {
        "mine": True,
        "steelyard": True,
    }
    assert not world.entry()["balanced"]
    second = Credential("steelyard-second", {**world.model().fields, "context_size": "128"})
    model = dataclasses.replace(world.model(), further=(second,))
    assert world.converge(world.client(), model) == ["create", "balance"]
    enabled = {config["name"]: config["enabled"] for config in world.entry()["configs"]}
    assert enabled == {"mine": False, "steelyard": True, "steelyard-second": True}
    assert world.converge(world.client(), model) == []


def test_balancing_over_what_has_no_id_is_switched_off_with_the_credential_of_ours(world: World) -> None:
    """Dify ignores a request that balances over nothing."""
    world.converge(world.client(), world.model())
    world.balance("tiny")
    client, look = world.client(), world.client().get

    def get(path: str) -> object:
        answer = look(path)
        for config in answer.get("load_balancing", {}).get("configs", ()):
            config.pop("id", None)
        return answer

    client.get = get  # type: ignore[method-assign]
    assert world.converge(client, world.model()) == ["balance"]
    assert not world.entry()["balanced"]
