"""Commands of the model store: versions, pages of memory, measured loaders, what engines compiled, wheels."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard_host.commands import Add, Arguments, Call
from steelyard_host.commands.lazy_modules import (
    adopt,
    compile_cache,
    garbage,
    layout,
    leases,
    load_bench,
    lock,
    publish,
    relay,
    sharded_variant,
    verify,
    warm,
    wheels,
)

if TYPE_CHECKING:
    from steelyard_host.wire.store import WheelsState


def register(add: Add) -> None:
    def index(args: Arguments) -> WheelsState:
        wheels.index(args.folder)
        return wheels.state(args.folder)

    _versions(add)
    _leases(add)
    _memory(add)
    _loaders(add)
    _whole_store(add)
    _variants(add)
    _compile_cache(add)
    for name, text, work in (
        ("wheels-state", "is the index of these wheels", lambda args: wheels.state(args.folder)),
        ("wheels-index", "index a folder of wheels", index),
    ):
        add(name, text, work).add_argument("folder", type=Path)


def _version_command(add: Add, name: str, text: str, call: Call) -> argparse.ArgumentParser:
    command = add(name, text, call)
    command.add_argument("root", type=Path)
    command.add_argument("project")
    command.add_argument("version")
    return command


def _versions(add: Add) -> None:
    def manifest(args: Arguments) -> dict[str, Any]:
        published = layout.published_manifest(args.root, args.project, args.version)
        return published.document if published is not None else {}

    _version_command(
        add,
        "store-state",
        "what the model store holds of one version",
        lambda args: publish.state(args.root, args.project, args.version),
    )
    _version_command(
        add,
        "store-switch",
        "have `current` name a version",
        lambda args: publish.switch(args.root, args.project, args.version),
    )
    _version_command(
        add,
        "store-manifest",
        "the manifest of a published version",
        manifest,
    )
    _version_command(
        add,
        "store-send",
        "write the bytes of a version",
        lambda args: publish.send(args.root, args.project, args.version, sys.stdout.buffer),
    )
    adopted = _version_command(
        add,
        "store-adopt",
        "publish a folder of a mounted NAS",
        lambda args: adopt.run(args.root, args.project, args.version, args.folder),
    )
    adopted.add_argument("folder", type=Path)
    _version_command(
        add,
        "store-relay",
        "take part in a push of a version",
        lambda args: relay.run(args.root, args.project, args.version),
    )
    verified = _version_command(
        add,
        "store-verify",
        "read every byte of a version",
        lambda args: verify.verify(args.root, args.project, args.version, args.quarantine),
    )
    verified.add_argument("--quarantine", action="store_true")


def _leases(add: Add) -> None:
    lease = _version_command(
        add,
        "store-lease",
        "keep a version for so many seconds",
        lambda args: leases.take(args.root, args.project, args.version, args.who, args.seconds, args.why),
    )
    release = _version_command(
        add,
        "store-release",
        "keep it no more",
        lambda args: leases.release(args.root, args.project, args.version, args.who),
    )
    for command in (lease, release):
        command.add_argument("who")
    lease.add_argument("seconds", type=float)
    lease.add_argument("why")


def _memory(add: Add) -> None:
    warmed = add(
        "store-warm",
        "bring a version into the page cache, in turns, and lock it there within a budget",
        lambda args: warm.in_turn(args.folder, args.seconds, warm.Turn(args.order, args.at_once), args.lock),
    )
    warmed.add_argument("folder", type=Path)
    warmed.add_argument("seconds", type=float)
    warmed.add_argument("--order", type=int, default=100)
    warmed.add_argument("--at-once", type=int, default=1)
    warmed.add_argument("--lock", type=int, default=0, help="bytes that all locked versions may take together")
    held = add("store-hold", "keep a version in memory until told to stop", lambda args: lock.hold(args.folder))
    held.add_argument("folder", type=Path)
    replaced = add(
        "store-replaced",
        "lock other versions of the model no more",
        lambda args: lock.release_replaced(args.folder),
    )
    replaced.add_argument("folder", type=Path)


def _loaders(add: Add) -> None:
    def bench(args: Arguments) -> Any:
        measured = load_bench.LoadProbe(args.service, args.engine, args.folder, args.ranks, args.user)
        return load_bench.bench(measured, args.repeats, args.sharded, args.ways)

    add("load-facts", "what was measured of loading", lambda _: load_bench.facts())
    record = add(
        "load-record", "keep what was measured", lambda args: load_bench.record(args.engine, json.loads(args.found))
    )
    record.add_argument("engine")
    record.add_argument("found")
    measure = add("load-bench", "measure the engine's loaders", bench)
    measure.add_argument("--sharded", default="")
    measure.add_argument("--ways", default="")
    for name in ("service", "engine", "folder"):
        measure.add_argument(name)
    measure.add_argument("ranks", type=int)
    measure.add_argument("repeats", type=int)
    measure.add_argument("user")


def _whole_store(add: Add) -> None:
    listed = add("store-list", "every published version", lambda args: garbage.inventory(args.root))
    listed.add_argument("root", type=Path)
    forget = add(
        "store-forget",
        "remove versions that nobody uses",
        lambda args: garbage.remove(args.root, args.versions, args.undeclared),
    )
    forget.add_argument("root", type=Path)
    forget.add_argument("--undeclared", action="store_true", help="also those that `current` names")
    forget.add_argument("versions", nargs="+", metavar="PROJECT@VERSION")
    tidy = add(
        "store-tidy", "remove what was half received long ago", lambda args: garbage.remove_stale_staging(args.root)
    )
    tidy.add_argument("root", type=Path)


def _variants(add: Add) -> None:
    sharded = add(
        "store-shard",
        "shard a version for an engine's ranks",
        lambda args: sharded_variant.shard(
            args.root, args.project, args.version, args.key, args.service, args.engine, args.ranks, args.user
        ),
    )
    sharded.add_argument("root", type=Path)
    for name in ("project", "version", "key", "service", "engine"):
        sharded.add_argument(name)
    sharded.add_argument("ranks", type=int)
    sharded.add_argument("user")


def _compile_cache(add: Add) -> None:
    def command(name: str, text: str, call: Call) -> argparse.ArgumentParser:
        added = add(name, text, call)
        added.add_argument("root", type=Path)
        added.add_argument("service")
        added.add_argument("engine", type=Path)
        added.add_argument("folder", type=Path)
        return added

    command(
        "compiled-state",
        "what this host's engine compiled, and from what",
        lambda args: compile_cache.state(args.root, args.service, args.engine, args.folder),
    )
    command(
        "compiled-save",
        "put what the engine compiled into the store",
        lambda args: compile_cache.save(args.root, args.service, args.engine, args.folder),
    )
    use = command(
        "compiled-use",
        "use what was compiled elsewhere from the same",
        lambda args: compile_cache.use(args.root, args.service, args.engine, args.folder, args.user),
    )
    use.add_argument("user")
