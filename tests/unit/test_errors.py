"""Every failure a user can cause renders from its sample, with its fix, in our style."""

from __future__ import annotations

import pytest

from steelyard import errors
from steelyard.errors import Exit, SteelyardError, show, show_many

CLASSES = sorted(
    (found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, SteelyardError)),
    key=lambda found: found.__name__,
)
KINDS = [found for found in CLASSES if found is not SteelyardError]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_error_renders_from_its_sample(kind: type[SteelyardError]) -> None:
    error = kind(**kind.sample)
    assert set(kind.sample) == set(kind.fields())
    assert show(error).startswith(f"error: {kind.sample['where']}: ")
    assert "\n  fix: " in show(error)
    assert "{" not in show(error)
    sentence = str(error).split(": ", 1)[1]
    assert not sentence.endswith(".")
    assert not any(word in sentence.lower() for word in ("failed to", "please"))
    assert error.as_json()["error"] == kind.__name__
    assert error.exit in Exit


def test_hosts_with_one_failure_are_one_message_with_a_count() -> None:
    sample = {"why": "connection refused", "address": "x"}
    many: list[SteelyardError] = [errors.HostUnreachable(where=f"gpu-{number}", **sample) for number in range(5)]
    assert show_many(many).startswith("error: 5 hosts (gpu-0, gpu-1, gpu-2, ...): unreachable: connection refused")


def test_every_error_module_is_exported() -> None:
    assert len(KINDS) >= 37
    assert sorted(errors.__all__) == sorted({*errors.__all__})
