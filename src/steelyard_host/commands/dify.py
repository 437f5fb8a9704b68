"""Commands of Dify on this host."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from steelyard_host.commands import Add, Arguments, Call
from steelyard_host.commands.lazy_modules import (
    archive,
    backup,
    env_file,
    exclusive,
    job_progress,
    lifecycle,
    rehearsal,
    stack,
    staging,
    upgrade,
)


def register(add: Add, parse: Callable[[Sequence[str]], Arguments]) -> None:
    """Registers the group; `parse` reads another command of the helper, which `dify-work` carries out."""
    _stack(add)
    _backups(add)
    _upgrade(add)

    def work(args: Arguments) -> int:
        inner = parse(args.words)
        return job_progress.carry_out(args.number, lambda: inner.call(inner))

    command = add("dify-work", "a command of this list, its answer kept", work)
    command.add_argument("number")
    command.add_argument("words", nargs=argparse.REMAINDER)
    add("dify-doing", "what such a work is at", lambda args: job_progress.state(args.unit)).add_argument("unit")


def _command(add: Add, name: str, text: str, call: Call, path: str) -> argparse.ArgumentParser:
    command = add(name, text, call)
    command.add_argument(path, type=Path)
    return command


def _alone(work: str, call: Call, wait: bool = False) -> Call:
    """The call while no other work on Dify goes on."""

    def carried_out(args: Arguments) -> object:
        with exclusive.held(work, wait):
            return call(args)

    return carried_out


def _stack(add: Add) -> None:
    _command(
        add, "dify-state", "what Dify's stack is and should be", lambda args: lifecycle.state(args.folder), "folder"
    )
    _command(add, "dify-env", "merge Dify's .env", lambda args: env_file.write(args.folder), "folder")
    record = _command(
        add,
        "dify-record",
        "write down a release's files",
        lambda args: lifecycle.install_record(args.folder, args.version, sys.stdin.read().split("\n")),
        "folder",
    )
    record.add_argument("version")
    place = _command(
        add,
        "dify-place",
        "lay a tar archive of standard input into Dify's folder",
        lambda args: lifecycle.place(args.folder, args.below, sys.stdin.buffer, args.mark),
        "folder",
    )
    place.add_argument("below", nargs="?", default="")
    place.add_argument("--mark", help="an empty file that is there when all the others are")
    add("dify-up", "start what should run, and wait until Dify answers", lambda _: lifecycle.start_declared())


def _backups(add: Add) -> None:
    made = add(
        "dify-backup",
        "one verified archive",
        _alone("a backup", lambda args: backup.make(stack.declared_stack(), args.why)),
    )
    made.add_argument("why")
    add(
        "dify-scheduled",
        "what the timer does",
        _alone("the backup of the timer", lambda _: backup.scheduled(stack.declared_stack()), wait=True),
    )
    _command(
        add,
        "dify-backups",
        "the archives there are",
        lambda args: backup.listing(args.folder),
        "folder",
    )
    _command(add, "dify-verify", "read every byte of an archive", lambda args: archive.verify(args.archive), "archive")
    _command(
        add,
        "dify-prove",
        "restore it beside",
        _alone("a proof", lambda args: backup.prove(stack.declared_stack(), args.archive)),
        "archive",
    )
    restore = _alone("a restore", lambda args: backup.restore(args.archive))
    _command(add, "dify-restore", "bring this host to an archive", restore, "archive")


def _upgrade(add: Add) -> None:
    add("dify-pull", "images of the staged release", lambda _: staging.pull())
    add("dify-rehearse", "bring a copy to the staged release", lambda _: rehearsal.rehearse())
    add("dify-switch", "to the staged release, or back", lambda _: upgrade.switch())
    add("dify-recover", "after a cut in the middle", lambda _: upgrade.recover())
    add("dify-progress", "of the last upgrade", lambda _: upgrade.progress())
