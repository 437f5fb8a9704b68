"""Our reading and writing of `.env` held against the real `docker compose config`: 300 secrets, and files by hand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.compose_here import environment_of

from steelyard.dify.environment import wrong_secret
from steelyard_host.dify import dotenv

SPECIAL = list("$'\"\\#` {}=:%@&!-~;|<>()*?[]abcnrtv012")
LETTERS = st.one_of(
    st.sampled_from(SPECIAL), st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=("C",))
)
SECRETS = 300


def made(strategy: st.SearchStrategy[str], count: int) -> list[str]:
    """Return so many values that hypothesis makes; the same each time."""
    values: list[str] = []

    @settings(max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=[*HealthCheck])
    @given(strategy)
    def collect(value: str) -> None:
        values.append(value)

    collect()
    return values


@pytest.mark.parametrize("name", ["REDIS_PASSWORD", "DB_PASSWORD"])
def test_every_secret_that_may_be_declared_reaches_a_container_as_it_is(tmp_path: Path, name: str) -> None:
    secrets = [value for value in made(st.text(LETTERS, min_size=1, max_size=40), 900) if not wrong_secret(name, value)]
    assert len(secrets) >= SECRETS
    keys = tuple(f"KEY_{number}" for number in range(len(secrets)))
    text = "".join(f"{key}={dotenv.quoted(value)}\n" for key, value in zip(keys, secrets, strict=True))
    seen = environment_of(tmp_path, text, keys)
    assert not isinstance(seen, str), seen
    for key, value in zip(keys, secrets, strict=True):
        assert (seen[key], seen[f"BY_REFERENCE_{key}"]) == (value, value)
    assert dotenv.texts(text) == dict(zip(keys, secrets, strict=True))


def test_values_of_several_lines_and_control_characters_too(tmp_path: Path) -> None:
    values = made(st.text(st.one_of(LETTERS, st.sampled_from(list("\n\t\r "))), max_size=30), 200)
    text = "".join(f"K{number}={dotenv.quoted(value)}\n" for number, value in enumerate(values))
    assert environment_of(tmp_path, text) == {f"K{number}": value for number, value in enumerate(values)}


ATOMS = [*"ab\"' #=:{}$%&!\t", "$A", "${A}", "${A:-d}", "${NO:-d e}", "${NO-}", "${A:+y}", "$$", "\\$", "\\", "\\\\"]
ATOMS += ["\\n", '\\"', "\\'", " #", "\\t", "\\x", "\\012", "\\101", "\\0", "é", "${B"]


def file_by_hand(dice: random.Random) -> str:
    body = "".join(dice.choice(ATOMS) for _ in range(dice.randint(0, 6)))
    quote = dice.choice(["", "", "'", '"', '"'])
    more = dice.choice(["", "\nsecond line"]) if quote else ""
    head = f"{dice.choice(['', 'export ', '  '])}V{dice.choice(['=', '= ', ' =', ': '])}"
    return f"A=zero\n# said\n{head}{quote}{body}{more}{quote}\nLAST=last\n"


@pytest.mark.parametrize("seed", range(3))
def test_a_file_that_somebody_wrote_is_read_as_compose_reads_it_or_refused(tmp_path: Path, seed: int) -> None:
    dice, compared = random.Random(seed), 0
    for _ in range(25):
        text = file_by_hand(dice)
        theirs = environment_of(tmp_path, text)
        try:
            ours = dotenv.texts(text)
        except dotenv.DotenvError:
            # what Compose takes for a key without a name we refuse: it is a quote that ended too early
            assert isinstance(theirs, str) or "" in theirs, text
            continue
        assert ours == theirs, text
        compared += 1
    assert compared >= 15
