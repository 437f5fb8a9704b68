"""GPUs of services: stable, whole ones first, shared where shares allow it, never more than there is."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from steelyard.hardware.gpu_assignment import GpuRequest, NotAssignable, assign

FOUR = ("GPU-a", "GPU-b", "GPU-c", "GPU-d")


def test_services_get_whole_gpus_in_their_order() -> None:
    found = assign([GpuRequest("x", 2, 0.9), GpuRequest("y", 1, 0.9)], FOUR, {})
    assert found == {"x": ("GPU-a", "GPU-b"), "y": ("GPU-c",)}


def test_what_a_service_has_it_keeps() -> None:
    held = {"y": ["GPU-c"], "x": ["GPU-a", "GPU-b"]}
    found = assign([GpuRequest("a-new-one", 1, 0.9), GpuRequest("x", 2, 0.9), GpuRequest("y", 1, 0.9)], FOUR, held)
    assert found == {"a-new-one": ("GPU-d",), "x": ("GPU-a", "GPU-b"), "y": ("GPU-c",)}


def test_other_gpus_where_its_own_are_gone_or_too_few() -> None:
    assert assign([GpuRequest("x", 1, 0.9)], FOUR, {"x": ["GPU-gone"]}) == {"x": ("GPU-a",)}
    held = {"x": ["GPU-b"], "y": ["GPU-a"]}
    assert assign([GpuRequest("x", 2, 0.9), GpuRequest("y", 1, 0.9)], FOUR, held) == {
        "x": ("GPU-b", "GPU-c"),
        "y": ("GPU-a",),
    }


def test_small_services_share_a_gpu_where_there_is_no_whole_one() -> None:
    found = assign([GpuRequest("x", 1, 0.45), GpuRequest("y", 1, 0.45), GpuRequest("z", 1, 0.5)], FOUR[:2], {})
    assert found == {"x": ("GPU-b",), "y": ("GPU-b",), "z": ("GPU-a",)}, "the largest has the fewest places"


def test_named_gpus_go_first_and_are_looked_at() -> None:
    needs = [GpuRequest("x", 1, 0.9), GpuRequest("y", 1, 0.9, ("GPU-a",))]
    assert assign(needs, FOUR, {"x": ["GPU-a"]}) == {"x": ("GPU-b",), "y": ("GPU-a",)}


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        ([GpuRequest("x", 5, 0.9)], "x: it asks for 0.9 of 5 GPUs, and 4 of 4 have that left"),
        ([GpuRequest("x", 4, 0.9), GpuRequest("y", 1, 0.2)], "y: it asks for 0.2 of 1 GPUs, and 0 of 4 have that left"),
        ([GpuRequest("x", 1, 0.9, ("GPU-z",))], "x: the host has no GPU GPU-z; it has GPU-a, GPU-b, GPU-c, GPU-d"),
        ([GpuRequest("x", 2, 0.9, ("GPU-a",))], "x: it asks for 2 GPUs, and 1 are named"),
        ([GpuRequest("x", 2, 0.4, ("GPU-a", "GPU-a"))], "x: it asks for 2 GPUs, and 1 are named"),
        (
            [GpuRequest("x", 1, 0.9, ("GPU-a",)), GpuRequest("y", 1, 0.9, ("GPU-a",))],
            "y: GPU-a is asked for more than once, 1.8 of it together",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(needs: list[GpuRequest], why: str) -> None:
    with pytest.raises(NotAssignable) as refused:
        assign(needs, FOUR, {})
    assert str(refused.value) == why


NEEDS = some.lists(
    some.builds(
        GpuRequest,
        service=some.sampled_from("abcdef"),
        count=some.integers(1, 3),
        share=some.sampled_from([0.1, 0.3, 0.45, 0.9, 1.0]),
    ),
    unique_by=lambda need: need.service,
    max_size=5,
)


@given(
    NEEDS,
    some.dictionaries(
        some.sampled_from("abcdef"), some.lists(some.sampled_from([*FOUR, "GPU-gone"]), unique=True, max_size=3)
    ),
)
def test_no_gpu_is_given_more_than_once_over_and_a_second_look_changes_nothing(
    needs: list[GpuRequest], held: dict[str, list[str]]
) -> None:
    try:
        found = assign(needs, FOUR, held)
    except NotAssignable:
        assume(False)
    for uuid in FOUR:
        assert sum(need.share for need in needs if uuid in found[need.service]) <= 1.0 + 1e-6
    for need in needs:
        assert len(set(found[need.service])) == need.count
    assert assign(needs, FOUR, found) == found
    assert assign(list(reversed(needs)), FOUR, found) == found
