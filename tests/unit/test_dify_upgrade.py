"""An upgrade of Dify brings over what people have, or goes back: vectors through every minor release, the database to
its last migration, models under the names that the new release looks for. On a host that is a folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dify_upgrade_world import DATABASE, LADDER, NEW, OLD, VOLUME, World

from steelyard_host.wire.dify import Rehearsal, Upgrade, UpgradeState


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def rehearsed(world: World) -> Rehearsal:
    done = world.helper("dify-rehearse")
    assert done.returncode == 0, done.stderr
    return Rehearsal.of_json(json.loads(done.stdout))


def switched(world: World) -> Upgrade:
    done = world.helper("dify-switch")
    assert done.returncode == 0, done.stderr
    return Upgrade.of_json(json.loads(done.stdout))


def refused(world: World, command: str) -> str:
    """The sentence with which a command is refused, and nothing is touched."""
    done = world.helper(command)
    assert done.returncode == 1, done.stdout
    assert world.is_untouched()
    assert world.calls("--project-name dify (stop|down)") == []
    return done.stderr


# Vectors


def test_the_volume_of_weaviate_goes_through_every_minor_release_in_the_rehearsal_and_in_the_switch(
    world: World,
) -> None:
    every = [f"1.{minor}.9" for minor in range(28, 39)]
    world.compose("dify.next", "1.39.2")
    world.steps(every)
    said = rehearsed(world)
    assert "Weaviate 1.27.0 to 1.39.2: 1 collections with 2 vectors, 2 of them searched for and found" in said.checked
    assert world.is_untouched()
    (world.root / "calls").unlink()
    upgrade = switched(world)
    assert upgrade.state is UpgradeState.DONE, upgrade.why
    walked = [step.step for step in upgrade.steps if step.step.startswith("walk")]
    assert walked == [f"walk the vectors through Weaviate {version}" for version in every]
    assert world.held("dify/volumes/weaviate/data.json") == {**VOLUME, "at": "1.39.2"}
    # each is stopped in its own time before the next one begins: killed, it would lose objects of its index
    lines = [line for line in world.calls(".*weaviate$") if " up " in line or " stop " in line]
    climbed = ["--no-deps --quiet-pull", "--timeout 600"] * len(every)
    words = [" ".join(line.split()[-3:-1]) for line in lines]
    assert words == ["--timeout 600", *climbed, "--no-deps --quiet-pull"]


def test_images_of_the_way_are_fetched_before_anything_stops(world: World) -> None:
    assert world.helper("dify-pull").returncode == 0
    images = [f"cr.weaviate.io/semitechnologies/weaviate:{version}" for version in LADDER]
    assert world.calls("^pull --quiet (.*)") == images


@pytest.mark.parametrize("command", ["dify-pull", "dify-rehearse"])
def test_a_jump_of_several_minor_releases_without_its_steps_is_refused_by_name(world: World, command: str) -> None:
    world.compose("dify.next", "1.33.2")
    said = refused(world, command)
    assert "from semitechnologies/weaviate:1.27.0 to cr.weaviate.io/semitechnologies/weaviate:1.33.2" in said
    assert "name an image for 1.30, 1.31, 1.32 in `dify.release.weaviate_steps`" in said


def test_a_switch_that_nobody_rehearsed_is_not_begun(world: World) -> None:
    upgrade = switched(world)
    assert (upgrade.state, upgrade.steps) == (UpgradeState.RESTORED, ())
    assert f"the step from {OLD} to {NEW} was not rehearsed here" in str(upgrade.why)
    assert world.is_untouched()


def test_a_step_whose_image_is_another_release_is_found_on_the_copy(world: World) -> None:
    images = [
        {"version": version, "image": f"x/weaviate:{'1.30.9' if version == '1.29.9' else version}"}
        for version in LADDER
    ]
    world.put("dify.next/.steelyard-vector-steps.json", {"images": images})
    assert "the image of Weaviate is named 1.29 and says that it is 1.30.9" in refused(world, "dify-rehearse")


def test_an_index_that_broke_on_the_way_is_found_by_a_search_although_every_count_is_the_same(world: World) -> None:
    world.steps(LADDER, "broken/weaviate")
    said = refused(world, "dify-rehearse")
    assert "the search of Weaviate 1.28.9 does not find the vector of o1 in the collection Vector_index_1_Node" in said


def test_an_index_that_breaks_in_the_switch_takes_the_way_back(world: World) -> None:
    rehearsed(world)
    world.steps(LADDER, "broken/weaviate")
    upgrade = switched(world)
    assert upgrade.state is UpgradeState.RESTORED
    assert "does not find the vector of o1" in str(upgrade.why)
    assert world.is_untouched()


def test_vectors_that_are_gone_are_counted(world: World) -> None:
    world.compose("dify.next", "1.28.1")
    rehearsed(world)
    few = {**VOLUME, "collections": {"Vector_index_1_Node": {"o1": [1.0, 0.0]}}}
    world.put("dify.next/volumes/weaviate/data.json", few)  # a release that lays its own over
    upgrade = switched(world)
    assert upgrade.state is UpgradeState.RESTORED
    assert "1 of 2 vectors of the collection Vector_index_1_Node are left at Weaviate 1.28.1" in str(upgrade.why)
    assert world.is_untouched()


def test_a_weaviate_that_does_not_answer_is_found_before_anything_stops(world: World) -> None:
    rehearsed(world)
    containers = world.held("containers.json")
    world.put("containers.json", [entry for entry in containers if "weaviate" not in json.dumps(entry)])
    (world.root / "calls").unlink()
    upgrade = switched(world)
    assert (upgrade.state, upgrade.steps) == (UpgradeState.RESTORED, ())
    assert "nothing was stopped: Weaviate has no container that runs" in str(upgrade.why)
    assert world.calls("--project-name dify (stop|down)") == []


def test_an_apply_that_changes_the_image_of_a_store_is_held_to_the_same_rules(world: World) -> None:
    containers = world.held("containers.json")
    for entry in containers:
        service = entry["Config"]["Labels"]["com.docker.compose.service"]
        if service in ("weaviate", "db_postgres"):
            digest = "@sha256:1"  # told by the official file
            entry["Config"]["Image"] = f"mirror:5000/{'library/postgres' if service != 'weaviate' else service}{digest}"
    world.put("containers.json", containers)
    world.put("dify/official.json", world.held("dify/compose.json"))
    assert world.helper("dify-up").returncode == 0
    (world.root / "calls").unlink()
    world.compose("dify", "1.39.2")
    done = world.helper("dify-up")
    assert done.returncode == 1
    assert "Weaviate would go from mirror:5000/weaviate:1.27.0 to semitechnologies/weaviate:1.39.2" in done.stderr
    mount = {"volumes": [{"type": "bind", "source": "/x", "target": "/y"}]}
    world.compose("dify", "1.27.0", services={"db_postgres": {"image": "postgres:17-alpine", **mount}})
    done = world.helper("dify-up")
    assert "db_postgres would go from mirror:5000/library/postgres:15-alpine to postgres:17-alpine" in done.stderr
    assert world.calls("--project-name dify up") == []


def test_another_vector_store_is_told_as_not_looked_into(world: World) -> None:
    qdrant = {"image": "langgenius/qdrant:v1.8.3", "volumes": [{"type": "bind", "source": "/x", "target": "/y"}]}
    for folder in ("dify", "dify.next"):
        world.compose(folder, "", services={"qdrant": qdrant})
    said = rehearsed(world)
    assert any("only Weaviate is asked" in words and "qdrant:v1.8.3" in words for words in said.unchecked)
    upgrade = switched(world)
    assert upgrade.state is UpgradeState.DONE, upgrade.why
    assert world.calls("stop --timeout 600 (.*)") == ["qdrant"]  # its files are whole in the backup


# The database


def test_a_migration_that_fails_and_ends_with_0_is_found_by_the_rehearsal(world: World) -> None:
    world.compose("dify.next", "1.28.1", fails=True)
    said = refused(world, "dify-rehearse")
    assert f"the database is at a1, and Dify {NEW} ends at b2; it said: Database migration failed" in said


def test_a_migration_that_fails_in_the_switch_takes_the_way_back_before_anything_starts(world: World) -> None:
    world.compose("dify.next", "1.28.1")
    rehearsed(world)
    world.compose("dify.next", "1.28.1", fails=True)
    (world.root / "calls").unlink()
    upgrade = switched(world)
    assert upgrade.state is UpgradeState.RESTORED
    assert "the database is at a1" in str(upgrade.why)
    assert "start it" not in [step.step for step in upgrade.steps]
    assert world.is_untouched()


def test_a_release_without_a_migration_of_its_own_is_refused(world: World) -> None:
    world.compose("dify.next", "1.28.1", head="")
    assert "`flask db heads` of Dify 1.17.1 names no migration" in refused(world, "dify-rehearse")


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ({"rows": {"accounts": 1, "apps": 3, "datasets": 1}}, "1 of 2 rows of the table accounts are left"),
        ({"models": []}, "the database has no model qwen (llm) any more, and 1 more"),
    ],
)
def test_what_a_migration_loses_is_found_by_the_rehearsal_and_in_the_switch(
    world: World, lost: dict[str, object], told: str
) -> None:
    world.compose("dify.next", "1.28.1")
    rehearsed(world)
    world.compose("dify.next", "1.28.1", migrates=lost)
    assert told in refused(world, "dify-rehearse")
    upgrade = switched(world)
    assert (upgrade.state, told in str(upgrade.why)) == (UpgradeState.RESTORED, True)
    assert world.is_untouched()


def test_rows_and_models_that_come_along_are_no_loss(world: World) -> None:
    more = {"rows": {"accounts": 2, "apps": 4, "datasets": 1}, "models": [*DATABASE["models"], "w1 tts kokoro"]}
    world.compose("dify.next", "1.28.1", migrates=more)
    rehearsed(world)
    assert switched(world).state is UpgradeState.DONE


LEGACY = {**DATABASE, "legacy": {"provider_models": 2, "tenant_default_models": 1}}


def test_legacy_model_types_get_the_new_names_in_the_rehearsal_and_in_the_switch(world: World) -> None:
    world.put("db-dify.json", LEGACY)
    world.compose("dify.next", "1.28.1")
    assert "3 rows with legacy model types have new ones" in rehearsed(world).checked
    assert world.held("db-dify.json") == LEGACY
    assert switched(world).state is UpgradeState.DONE
    assert world.held("db-dify.json")["legacy"] == {}
    asked = world.calls("--project-name (.*) run .*data-migrate legacy-model-types --apply$")
    assert asked == ["dify-rehearsal", "dify"]


def test_a_migration_that_renames_the_types_itself_needs_no_command(world: World) -> None:
    world.put("db-dify.json", LEGACY)
    world.compose("dify.next", "1.28.1", migrates={"legacy": {}}, canonical=False)
    rehearsed(world)
    assert switched(world).state is UpgradeState.DONE
    assert world.calls("data-migrate") == []


def test_legacy_model_types_that_the_release_cannot_rename_are_refused(world: World) -> None:
    world.put("db-dify.json", LEGACY)
    world.compose("dify.next", "1.28.1", canonical=False)
    done = world.helper("dify-rehearse")
    assert done.returncode == 1
    assert "2 in provider_models, 1 in tenant_default_models" in done.stderr
    assert "No such command 'data-migrate'" in done.stderr
    assert "a release from 1.15 on has the command for it" in done.stderr
    assert world.held("db-dify.json") == LEGACY


def test_a_server_that_is_another_major_release_than_its_image_is_named_is_found(world: World) -> None:
    world.compose("dify.next", "1.28.1", postgres="160002")
    said = refused(world, "dify-rehearse")
    assert "PostgreSQL (`db_postgres`) says it is 15, and that of Dify 1.17.1 16" in said


# Cut in the middle

STEPS = (
    "stop what writes",
    "count what has to be there afterwards",
    "back up what there is",
    f"walk the vectors through Weaviate {LADDER[0]}",
    f"walk the vectors through Weaviate {LADDER[-1]}",
    "put the new release in place",
    "migrate what is stored",
    "start it",
)


@pytest.mark.parametrize("step", STEPS)
def test_an_upgrade_that_is_killed_at_any_step_goes_back_to_what_was(world: World, step: str) -> None:
    rehearsed(world)
    assert world.helper("dify-switch", cut_at=step).returncode == -9
    done = world.helper("dify-recover")
    assert done.returncode == 0, done.stderr
    assert Upgrade.of_json(json.loads(done.stdout)).state is UpgradeState.RESTORED
    assert world.is_untouched()


def test_after_the_way_back_the_next_upgrade_goes_through(world: World) -> None:
    rehearsed(world)
    assert world.helper("dify-switch", cut_at=STEPS[3]).returncode == -9
    assert world.helper("dify-recover").returncode == 0
    upgrade = switched(world)
    assert upgrade.state is UpgradeState.DONE, upgrade.why
    assert world.held("dify/volumes/weaviate/data.json") == {**VOLUME, "at": "1.30.2"}
