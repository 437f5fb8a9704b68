"""Words of templates that ask for more than the inventory: files, programs, the clock, chance. What they say may be
something else next time, so a fleet that has one is not kept.
"""

from __future__ import annotations

import re
from functools import lru_cache

FILTER = re.compile(r"\|\s*([A-Za-z_][\w.]*)")
TEST = re.compile(r"\bis\s+(?:not\s+)?([A-Za-z_][\w.]*)")
ASKING = re.compile(r"\b(lookup|query|q|now|undef)\s*\(|\b(ansible_env|ansible_date_time|ansible_playbook_python)\b")
# of those that ansible-core and Jinja bring; others are somebody's own code
ASKING_FILTERS = frozenset(
    [
        *("expanduser", "expandvars", "realpath", "fileglob", "strftime"),
        *("random", "shuffle", "password_hash", "random_mac", "vault", "unvault"),
    ]
)


def asks_for_more(text: str) -> bool:
    """Whether a template asks for something beside variables."""
    if ASKING.search(text):
        return True
    filters, tests = _known()
    return any(name.removeprefix("ansible.builtin.") not in filters for name in FILTER.findall(text)) or any(
        name.removeprefix("ansible.builtin.") not in tests for name in TEST.findall(text)
    )


@lru_cache
def _known() -> tuple[frozenset[str], frozenset[str]]:
    """Filters and tests whose answer depends on what they are given alone."""
    from ansible.plugins.filter import core, mathstuff, urls, urlsplit
    from ansible.plugins.test import core as core_tests
    from ansible.plugins.test import mathstuff as mathstuff_tests
    from jinja2.filters import FILTERS
    from jinja2.tests import TESTS

    brought = (core, mathstuff, urls, urlsplit)
    filters = {*FILTERS, *(name for part in brought for name in part.FilterModule().filters())}
    tests = {*TESTS, *(name for part in (core_tests, mathstuff_tests) for name in part.TestModule().tests())}
    return frozenset(filters) - ASKING_FILTERS, frozenset(tests)
