"""Dify's database brought to the staged release, and known to be there.

The end of `flask upgrade-db` proves little: that of 1.12.0 and 1.12.1 ends with 0 where a migration failed, and every
release's does where another process holds its lock. So what Alembic wrote into the database is held against the last
migration in the image. Releases from 1.14 on look for model types under other names than those before stored; a
migration brings them over from 1.17.1 on, a command of its own from 1.15 on.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from steelyard_host.dify import contents, database
from steelyard_host.dify.contents import Contents
from steelyard_host.dify.stack import DifyError, Stack

ONCE = ("--rm", "--no-deps", "--quiet-pull", "-T")
HEAD = re.compile(r"^(\S+) (?:\([\w, ]+\) )*\(head\)", re.MULTILINE)
CANONICAL_SINCE = (1, 14)
TO_CANONICAL = ("data-migrate", "legacy-model-types", "--apply")


class DatabaseTarget(NamedTuple):
    """A database of Dify and the project whose containers work on it. `options`: of `compose run`, that say so."""

    stack: Stack
    database: str
    options: tuple[str, ...] = ()

    def flask(self, *argv: str) -> str:
        """The output of a command of Dify's own program. Raises DifyError."""
        return self.stack.compose("run", *ONCE, *self.options, "--entrypoint", "flask", "api", *argv).stdout

    def contents(self) -> Contents:
        """The contents of the database. Raises DifyError."""
        return contents.read(self.stack, self.database)


def heads(target: DatabaseTarget) -> tuple[str, ...]:
    """The last migrations that the image of the target's project has. Raises DifyError."""
    known = tuple(sorted(set(HEAD.findall(target.flask("db", "heads")))))
    if not known:
        raise DifyError("`flask db heads` of Dify %s names no migration" % target.stack.version())
    return known


def migrate(target: DatabaseTarget, expected: tuple[str, ...], before: Contents) -> Contents:
    """Migrates the database to `expected`; what it holds then. Raises DifyError where it did not get there, or
    something of `before` is lost.
    """
    options = (*target.options, "-e", "MODE=migration", "-e", "MIGRATION_ENABLED=true")
    said = target.stack.compose("run", *ONCE, *options, "api")
    reached = tuple(sorted(database.query(target.stack, target.database, "SELECT version_num FROM alembic_version")))
    if reached != expected:
        shown = (" ".join(reached) or "nothing", target.stack.version(), " ".join(expected))
        why = "the migration ended with 0 and did not come to its end: the database is at %s, and Dify %s ends at %s"
        raise DifyError(why % shown + _failure(said.stdout, said.stderr))
    after = target.contents()
    if after.legacy and stores_canonical_types(target.stack.version()):
        after = _canonical(target, after)
    contents.require_same(before, after)
    return after


def _failure(*outputs: str) -> str:
    """The line that says what failed, as the end of a sentence."""
    lines = [line.strip() for text in outputs for line in text.splitlines() if re.search(r"(?i)fail|error", line)]
    return "; it said: %s" % re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", lines[-1])[-300:] if lines else ""


def stores_canonical_types(version: str | None) -> bool:
    """Whether a release looks for `llm` where one before stored `text-generation`."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version or "")
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= CANONICAL_SINCE


def _canonical(target: DatabaseTarget, held: Contents) -> Contents:
    """The contents after legacy model types got their canonical names. Raises DifyError."""
    counted = ", ".join("%d in %s" % (count, table) for table, count in held.legacy.items())
    try:
        target.flask(*TO_CANONICAL)
    except DifyError as error:
        shown = (counted, target.stack.version(), error)
        raise DifyError(
            "rows with model types of releases before 1.14 are left (%s), and Dify %s does not bring them over, so "
            "it would not find their models: %s; a release from 1.15 on has the command for it" % shown
        ) from error
    after = target.contents()
    if after.legacy:
        raise DifyError(
            "`flask %s` of Dify %s left rows with model types of releases before 1.14: %s"
            % (" ".join(TO_CANONICAL), target.stack.version(), ", ".join(after.legacy))
        )
    return after
