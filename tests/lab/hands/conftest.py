"""One lab for all tests of this folder; each leaves the site in sync, with the aliases and versions it found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import hands_site
from support.lab_site import assert_no_trace_since, steelyard, traces


@pytest.fixture(scope="session")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hands_site.HandsSite]:
    """`pair` on two hosts, `solo` on the third, behind one gateway; all of it applied."""
    before = traces(hands_site.NAME)
    yield hands_site.boot(tmp_path_factory.mktemp("hands"))
    down = steelyard("lab", "down", "--name", hands_site.NAME)
    assert down.returncode == 0, down.stderr
    assert_no_trace_since(before, hands_site.NAME)
