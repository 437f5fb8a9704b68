"""Command line of the helper. Answers are JSON on stdout; a failure is one sentence on stderr and exit 1."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any


class Later:
    """A module that is loaded when a command asks for it: hosts compile what they load anew at every call."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, word: str) -> Any:
        return getattr(import_module("steelyard_host." + self._name), word)


if TYPE_CHECKING:
    from steelyard_host import (
        adopt,
        compiled,
        dify_backup,
        dify_doing,
        dify_env,
        dify_stack,
        dify_upgrade,
        engines,
        front,
        gpu,
        handover,
        haproxy,
        hardware,
        holdings,
        lazy,
        leases,
        loading,
        made_here,
        ready,
        registry,
        relay,
        starts,
        status,
        store,
        surge,
        switch,
        tier,
        warm,
        watch,
        wheels,
    )
else:
    MODULES = "adopt compiled dify_backup dify_doing dify_env dify_stack dify_upgrade engines front gpu handover haproxy hardware holdings lazy leases loading made_here ready registry relay starts status store surge switch tier warm watch wheels"
    globals().update({name: Later(name) for name in MODULES.split()})

Given = argparse.Namespace


def commands() -> argparse.ArgumentParser:
    """Every command with its arguments. `call` gives an answer to print, or an exit code."""
    parser = argparse.ArgumentParser(prog="steelyard-host")
    kinds = parser.add_subparsers(dest="command", required=True)

    def add(name: str, text: str, call: Callable[[Given], Any]) -> argparse.ArgumentParser:
        made = kinds.add_parser(name, help=text)
        made.set_defaults(call=call)
        return made

    _store(add)
    _services(add)
    _switches(add)
    _gpus(add)
    _measures(add)
    _dify(add)
    return parser


def _store(add: Any) -> None:
    def version(name: str, text: str, call: Callable[[Given], Any]) -> Any:
        made = add(name, text, call)
        made.add_argument("root", type=Path)
        made.add_argument("project")
        made.add_argument("version")
        return made

    version("store-state", "what the model store holds of one version", lambda g: store.state(g.root, g.project, g.version))
    version("store-switch", "have `current` name a version", lambda g: store.switch(g.root, g.project, g.version))
    version("store-manifest", "the manifest of a published version", lambda g: store.shown(g.root, g.project, g.version))
    version("store-send", "write the bytes of a version", lambda g: store.send(g.root, g.project, g.version, sys.stdout.buffer))
    adopted = version(
        "store-adopt", "publish a folder of a mounted NAS", lambda g: adopt.run(g.root, g.project, g.version, g.folder)
    )
    adopted.add_argument("folder", type=Path)
    lease = version(
        "store-lease",
        "keep a version for so many seconds",
        lambda g: leases.take(g.root, g.project, g.version, g.who, g.seconds, g.why),
    )
    let_go = version("store-release", "keep it no more", lambda g: leases.release(g.root, g.project, g.version, g.who))
    for each in (lease, let_go):
        each.add_argument("who")
    lease.add_argument("seconds", type=float)
    lease.add_argument("why")
    version("store-relay", "take part in a push of a version", lambda g: relay.run(g.root, g.project, g.version))
    verify = version(
        "store-verify", "read every byte of a version", lambda g: store.verify(g.root, g.project, g.version, g.quarantine)
    )
    verify.add_argument("--quarantine", action="store_true")
    warmed = add(
        "store-warm",
        "bring a version into the page cache, in turns, and lock it there within a budget",
        lambda g: warm.in_turn(g.folder, g.seconds, warm.Turn(g.order, g.at_once), g.lock),
    )
    warmed.add_argument("folder", type=Path)
    warmed.add_argument("seconds", type=float)
    warmed.add_argument("--order", type=int, default=100)
    warmed.add_argument("--at-once", type=int, default=1)
    warmed.add_argument("--lock", type=int, default=0, help="bytes that all locked versions may take together")
    add("store-hold", "keep a version in memory until told to stop", lambda g: tier.hold(g.folder)).add_argument(
        "folder", type=Path
    )
    replaced = add(
        "store-replaced", "lock other versions of the model no more", lambda g: {"gone": tier.release_replaced(g.folder)}
    )
    replaced.add_argument("folder", type=Path)
    add("load-facts", "what was measured of loading", lambda _: loading.facts())
    kept = add("load-record", "keep what was measured", lambda g: loading.record(g.engine, json.loads(g.found)))
    kept.add_argument("engine")
    kept.add_argument("found")
    bench = add(
        "load-bench",
        "measure the engine's loaders",
        lambda g: loading.bench(loading.Probe(g.service, g.engine, g.folder, g.ranks, g.user), g.repeats, g.sharded, g.ways),
    )
    bench.add_argument("--sharded", default="")
    bench.add_argument("--ways", default="")
    for word in ("service", "engine", "folder"):
        bench.add_argument(word)
    bench.add_argument("ranks", type=int)
    bench.add_argument("repeats", type=int)
    bench.add_argument("user")
    add("store-list", "every published version", lambda g: holdings.listing(g.root)).add_argument("root", type=Path)
    _compiled(add)
    forget = add("store-forget", "remove versions that nobody uses", lambda g: {"stays": holdings.forget(g.root, g.versions)})
    forget.add_argument("root", type=Path)
    forget.add_argument("versions", nargs="+", metavar="PROJECT@VERSION")
    add("store-tidy", "remove what was half received long ago", lambda g: {"gone": holdings.abandoned(g.root)}).add_argument(
        "root", type=Path
    )
    for name, text, work in (
        ("wheels-state", "is the index of these wheels", lambda folder: wheels.state(folder)),
        ("wheels-index", "index a folder of wheels", lambda folder: wheels.index(folder)),
    ):
        add(name, text, lambda given, work=work: work(given.folder)).add_argument("folder", type=Path)


def _compiled(add: Any) -> None:
    sharded = add(
        "store-shard",
        "shard a version for an engine's ranks",
        lambda g: made_here.shard(g.root, g.project, g.version, g.key, g.service, g.engine, g.ranks, g.user),
    )
    sharded.add_argument("root", type=Path)
    for word in ("project", "version", "key", "service", "engine"):
        sharded.add_argument(word)
    sharded.add_argument("ranks", type=int)
    sharded.add_argument("user")
    _of_service(add, "compiled-state", "what this host's engine compiled, and from what", lambda *of: compiled.state(*of))
    _of_service(add, "compiled-save", "put what the engine compiled into the store", lambda *of: compiled.save(*of))
    use = _of_service(add, "compiled-use", "use what was compiled elsewhere from the same", lambda *of: compiled.use(*of))
    use.set_defaults(call=lambda g: compiled.use(g.root, g.service, g.engine, g.folder, g.user))
    use.add_argument("user")


def _of_service(add: Any, name: str, text: str, work: Callable[..., Any]) -> Any:
    made = add(name, text, lambda g: work(g.root, g.service, g.engine, g.folder))
    made.add_argument("root", type=Path)
    made.add_argument("service")
    made.add_argument("engine", type=Path)
    made.add_argument("folder", type=Path)
    return made


def _services(add: Any) -> None:
    def usable_gpus(given: Given) -> int:
        wrong = gpu.unusable(given.uuids.split(","), {int(number) for number in given.xids.split(",")})
        print("\n".join(wrong) or "its GPUs are usable")
        return 1 if wrong else 0

    def waited(given: Given) -> int:
        done = ready.wait(given.socket, given.service, given.seconds)
        if done == 0:
            pid = os.environ.get("MAINPID", "0")
            version = status.mounted_version(pid, given.service)
            starts.note(given.service, engines.unit(given.service), version, pid)
            front.ready(given.service)
        return done

    def token(given: Given) -> Any:
        gives, why = ready.one_token(given.socket, given.service, 20)
        return {"gives": gives, "why": why}

    wait = add("ready", "wait until the engine generates a token, and record the start", waited)
    now = add("token", "whether the engine generates a token now", token)
    beside = add("ready-beside", "the same of a second engine", lambda g: surge.wait(g.socket, g.service, g.seconds))
    for each in (wait, now, beside):
        each.add_argument("socket")
        each.add_argument("service")
    for each in (wait, beside):
        each.add_argument("seconds", type=float)
    watched = add("watch", "kill an engine that generates nothing any more", lambda g: watch.run(g.service, g.seconds))
    watched.add_argument("service")
    watched.add_argument("seconds", type=float)
    for name, text, call in (
        ("lazy-room", "have others rest until a service has room", lambda g: lazy.make_room(g.service, g.drain_s, g.seconds)),
        ("lazy-rest", "stop a service; its next request starts it", lambda g: 0 if lazy.rest(g.service, g.drain_s) else 1),
    ):
        made = add(name, text, call)
        made.add_argument("service")
        made.add_argument("drain_s", type=float)
        made.add_argument("--seconds", type=float, default=60)
    add("services", "services this host has units of", lambda _: engines.units())
    usable = add("gpu-usable", "whether a service may start on its GPUs", usable_gpus)
    usable.add_argument("xids", help="numbers after which a GPU is not to be used, by commas")
    usable.add_argument("uuids", help="GPUs of the service, by commas")
    add("status", "GPUs, services and requests of this host", lambda _: switch.with_trials(status.read()))
    counted = add("service-counters", "what an engine counted", lambda g: status.counters(g.service))
    counted.add_argument("service")
    add("haproxy", "what a running HAProxy was started with", lambda g: haproxy.state(g.socket)).add_argument("socket")
    saved = add("haproxy-save", "keep what HAProxy knows of its servers", lambda g: haproxy.save(g.socket, g.file))
    saved.add_argument("socket")
    saved.add_argument("file")
    weigh = add(
        "haproxy-weigh",
        "set weights of servers",
        lambda g: haproxy.weigh(g.socket, {name: int(weight) for name, weight in (word.split("=") for word in g.weights)}),
    )
    weigh.add_argument("socket")
    weigh.add_argument("weights", nargs="+", metavar="BACKEND/SERVER=WEIGHT")
    healthy = add(
        "haproxy-wait",
        "wait until HAProxy sees servers healthy",
        lambda g: haproxy.wait_healthy(g.socket, g.seconds, g.servers),
    )
    healthy.add_argument("socket")
    healthy.add_argument("seconds", type=float)
    healthy.add_argument("servers", nargs="+")


def _switches(add: Any) -> None:
    drain = add("drain", "turn new requests away, and wait for those that run", lambda g: front.drain(g.service, g.seconds))
    drain.add_argument("service")
    add("front-out", "close a service's port", lambda g: front.out(g.service)).add_argument("service")
    settled = add("front-settle", "close the ports that have no engine behind them", lambda g: front.settle(g.services))
    settled.add_argument("services", nargs="*")
    drain.add_argument("seconds", type=float)
    add("surge-gone", "requests find another way", lambda g: surge.gone(g.service)).add_argument("service")
    held = add("unit-hold", "say which process is a unit's main one", lambda g: handover.hold(g.group, g.pid))
    held.add_argument("group")
    held.add_argument("pid")
    now = add(
        "switch-state",
        "what a service serves, comes up with, and was switched to last",
        lambda g: switch.state(g.root, g.project, g.service),
    )
    confirmed = add("switch-confirm", "a version on trial stays", lambda g: switch.confirm(g.root, g.project, g.service, g.run))
    for each in (now, confirmed):
        each.add_argument("root", type=Path)
        each.add_argument("project")
    add("switch-try", "try the version that standard input names", lambda _: switch.attempt(switch.read_spec()))
    carried = add("switch-carry-out", "the trial itself, in a unit of its own", lambda g: switch.carry_out(g.service))
    undone = add("switch-undo", "back to the version of before the trial", lambda g: switch.undo(g.service, g.run, g.why))
    for each in (now, confirmed, carried, undone):
        each.add_argument("service")
    confirmed.add_argument("run")
    undone.add_argument("--run", default="")
    undone.add_argument("--why", default="nobody confirmed it in time")


def _gpus(add: Any) -> None:
    def settle(given: Given) -> int:
        refused = gpu.settle(given.gpu, dict(word.split("=", 1) for word in given.settings))
        print("\n".join(refused), file=sys.stderr)
        return 1 if refused else 0

    add("memory", "memory of GPUs and of the host", lambda _: gpu.memory())
    add("gpu-health", "GPUs by NVML, the PCI bus and the kernel log", lambda _: gpu.health())
    settings = add("gpu-settings", "set GPUs: persistence, power_limit, clocks, compute_mode, ecc, mig, mig_layout", settle)
    settings.add_argument("--gpu", type=int)
    settings.add_argument("settings", nargs="+", metavar="NAME=VALUE")


def _measures(add: Any) -> None:
    made_of = add("hardware", "what this host is made of", lambda g: hardware.read(g.path, g.names))
    made_of.add_argument("path")
    made_of.add_argument("names", nargs="*")
    read = add("disk", "how fast the disk reads, by fio", lambda g: hardware.disk(g.path, g.seconds))
    read.add_argument("path")
    serve = add("link-serve", "serve one measurement of a link, by iperf3", lambda g: hardware.serve(g.port, g.seconds))
    link = add("link", "measure a link to a host that serves", lambda g: hardware.link(g.address, g.port, g.seconds))
    link.add_argument("address")
    for each in (serve, link):
        each.add_argument("port", type=int)
    for each in (read, serve, link):
        each.add_argument("seconds", type=float)
    image = add("registry-probe", "whether a registry serves an image, and how fast", lambda g: registry.probe(g.url, g.image))
    image.add_argument("url")
    image.add_argument("image")


def _dify(add: Any) -> None:
    def made(name: str, text: str, call: Callable[[Given], Any], argument: str) -> Any:
        found = add(name, text, call)
        found.add_argument(argument, type=Path)
        return found

    made("dify-state", "what Dify's stack is and should be", lambda g: dify_stack.state(g.folder), "folder")
    made("dify-env", "merge Dify's .env", lambda g: dify_env.write(g.folder), "folder")
    record = made(
        "dify-record",
        "write down a release's files",
        lambda g: dify_stack.install_record(g.folder, g.version, sys.stdin.read().split("\n")),
        "folder",
    )
    record.add_argument("version")
    add("dify-up", "start what should run, and wait until Dify answers", lambda _: dify_stack.brought_up())
    add("dify-backup", "one verified archive", lambda g: dify_backup.make(dify_stack.declared(), g.why)).add_argument("why")
    add("dify-scheduled", "what the timer does", lambda _: dify_backup.scheduled(dify_stack.declared()))
    made("dify-backups", "the archives there are", lambda g: {"backups": dify_backup.listing(g.folder)}, "folder")
    made("dify-verify", "read every byte of an archive", lambda g: dify_backup.verify(g.archive), "archive")
    made("dify-prove", "restore it beside", lambda g: dify_backup.prove(dify_stack.declared(), g.archive), "archive")
    made("dify-restore", "bring this host to an archive", lambda g: dify_backup.restore(g.archive), "archive")
    add("dify-pull", "images of the staged release", lambda _: dify_upgrade.pull())
    add("dify-rehearse", "migrate a copy with the staged release", lambda _: dify_upgrade.rehearse())
    add("dify-switch", "to the staged release, or back", lambda _: dify_upgrade.switch())
    add("dify-recover", "after a cut in the middle", lambda _: dify_upgrade.recover())
    add("dify-progress", "of the last upgrade", lambda _: dify_upgrade.progress())
    work = add(
        "dify-work", "a command of this list, its answer kept", lambda g: dify_doing.carry_out(g.number, _later(g.words))
    )
    work.add_argument("number")
    work.add_argument("words", nargs=argparse.REMAINDER)
    add("dify-doing", "what such a work is at", lambda g: dify_doing.now(g.unit)).add_argument("unit")


def _later(words: list[str]) -> Callable[[], Any]:
    given = commands().parse_args(words)
    return lambda: given.call(given)


def main() -> int:
    given = commands().parse_args()
    try:
        found = given.call(given)
    except store.StoreError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print("%s: %s" % (error.filename or given.command, error.strerror or error), file=sys.stderr)
        return 1
    if isinstance(found, int):
        return found
    print(json.dumps(found, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
