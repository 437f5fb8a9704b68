"""An upgrade of Dify rehearsed: the newest backup in a scratch project, brought to the staged release and held against
what it was.

Nothing that runs is touched. The copy goes the whole way: Weaviate's volume through every image, the database through
the migrations, and the new API is asked for what a browser asks first.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from steelyard_host.dify import api_probe, backup, database, exclusive, ladder, staging, upgrade, vectors
from steelyard_host.dify import archive as archives
from steelyard_host.dify.migration import DatabaseTarget, heads, migrate
from steelyard_host.dify.stack import DATABASE, DifyError, Stack, declared_stack
from steelyard_host.dify.staging import Way, lay_over, staged
from steelyard_host.dify.stores import WEAVIATE
from steelyard_host.dify.vectors import Vectors
from steelyard_host.system import beneath
from steelyard_host.wire.dify import Rehearsal, Rehearsed


def rehearse() -> Rehearsal:
    """Brings a copy of the newest backup to the staged release in a scratch project. Raises DifyError."""
    with exclusive.held("a rehearsal"):
        upgrade.require_none_cut()
        backup.require_nothing_aside(declared_stack().folder)
        return _rehearse()


def _rehearse() -> Rehearsal:
    begin = time.monotonic()
    stack = declared_stack()
    new = staged(stack)
    data_way = staging.way(stack, new)
    # of the release that runs: an older one's would rehearse another jump
    every = Path(stack.config["backups"]).glob("dify-%s-*.tar.gz" % stack.version())
    newest = max(every, key=lambda path: path.name, default=None)
    archive = newest or Path(backup.make(stack, "for a rehearsal").archive)
    listed = archives.verify(archive)
    folder = stack.folder.with_name(stack.folder.name + ".rehearsal")
    copy = _Copy(stack, new, Stack(stack.config, folder, stack.project + "-rehearsal"), data_way)
    work = folder.with_name(folder.name + "-archive")
    names = {name: copy.name_of(name) for name in listed.databases}
    try:
        for left in (folder, work):
            beneath.discard_tree(left)
        archives.extract(archive, work)
        os.rename(work / "dify", folder)
        known = copy.bring_over(names, work / "db")
    finally:
        if (folder / "docker-compose.yaml").exists():
            copy.scratch.compose("down", "--remove-orphans", "--volumes", check=False)
            if copy.is_shared:
                for to in names.values():
                    database.query(stack, "postgres", 'DROP DATABASE IF EXISTS "%s" WITH (FORCE)' % to)
        for left in (folder, work):
            beneath.discard_tree(left)
    upgrade.write_rehearsed(Rehearsed(stack.version(), new.version(), known))
    seconds = round(time.monotonic() - begin, 1)
    checks = {"checked": tuple(copy.checked), "unchecked": tuple(copy.unchecked)}
    return Rehearsal(str(archive), listed.version, new.version(), seconds, **checks)


class _Copy:
    """The scratch project of a rehearsal, and what was found of it. `is_shared`: its databases lie on a server of the
    site, under names of their own.
    """

    def __init__(self, stack: Stack, new: Stack, scratch: Stack, data_way: Way) -> None:
        self.stack, self.new, self.scratch, self.data_way = stack, new, scratch, data_way
        self.is_shared = not stack.has_own_database
        self.checked: list[str] = []
        self.unchecked: list[str] = []

    def name_of(self, database_name: str) -> str:
        """The name of a database's copy."""
        return "steelyard_rehearsal_" + database_name if self.is_shared else database_name

    def bring_over(self, names: dict[str, str], dumps: Path) -> tuple[str, ...]:
        """Brings the extracted copy to the staged release; the last migrations of that. Raises DifyError."""
        seen = self._walked() if self.data_way.has_vectors else None
        lay_over(self.new.folder, self.scratch.folder)
        self.scratch.compose("up", "--detach", "--quiet-pull", "--wait", "redis")
        database.start(self.scratch, self.scratch.ready_s)
        self._compare_servers()
        for name, to in names.items():
            database.restore(self.scratch, to, dumps / (name + ".dump"))
        known = self._migrated(names)
        if seen is not None:
            held = upgrade.start_vectors(self.scratch, self.data_way, seen)
            self.checked.append("Weaviate %s to %s: %s" % (seen.version, held.version, held.shown))
        return known

    def _walked(self) -> Vectors:
        """What the copy of Weaviate's volume holds, brought to the last step. Raises DifyError."""
        self.scratch.compose("up", "--detach", "--no-deps", "--quiet-pull", WEAVIATE)
        try:
            seen = vectors.settled(self.scratch, None, self.data_way.old[WEAVIATE].minor, self.scratch.ready_s)
        except DifyError as error:
            raise DifyError(
                "the copy of Weaviate's volume in the backup cannot be used: %s; `steelyard dify backup` makes a newer "
                "one" % error
            ) from error
        vectors.stop(self.scratch)
        ladder.walk(self.scratch, self.data_way.steps, seen, self.scratch.ready_s, lambda step: None)
        return seen

    def _migrated(self, names: dict[str, str]) -> tuple[str, ...]:
        """Migrates the copy and asks the new API on it; its last migrations. Raises DifyError."""
        name = names.get(self.stack.config["databases"][0])
        if name is None:
            raise DifyError("the backup has no database `%s`" % self.stack.config["databases"][0])
        target = DatabaseTarget(self.scratch, name, ("-e", "DB_DATABASE=" + name) if self.is_shared else ())
        known, before = heads(target), target.contents()
        after = migrate(target, known, before)
        self.checked.append("the database is at %s, the last migration" % " ".join(known))
        if before.legacy and not after.legacy:
            self.checked.append("%d rows with legacy model types have new ones" % sum(before.legacy.values()))
        self.checked.append("still there: " + after.shown)
        self.checked.append(api_probe.answered(target, after, self.scratch.ready_s))
        self.unchecked.append("that somebody can log in: no password is known here")
        if not self.data_way.has_vectors:
            shown = ", ".join(store.shown for store in self.data_way.old.values())
            self.unchecked.append("vectors: only Weaviate is asked for what it holds, and the stores are %s" % shown)
        return known

    def _compare_servers(self) -> None:
        """Raises DifyError where PostgreSQL is another major release than the one that runs: the rehearsal restores
        dumps, which any release reads, and the switch starts it on the data folder.
        """
        if self.is_shared:
            return
        running, staged_release = (self._server(stack) for stack in (self.stack, self.scratch))
        if running is None or staged_release is None:
            self.unchecked.append("PostgreSQL's own word of its release: one of both does not run")
        elif running != staged_release:
            raise DifyError(
                "PostgreSQL (`%s`) says it is %d, and that of Dify %s %d, which does not read the data folder of "
                "another major release: name the image that runs in `dify.images`"
                % (DATABASE, running, self.new.version(), staged_release)
            )

    def _server(self, stack: Stack) -> int | None:
        try:
            said = database.query(stack, "postgres", "SHOW server_version_num")
        except DifyError:
            return None
        return int(said[0]) // 10000 if said and said[0].isdigit() else None
