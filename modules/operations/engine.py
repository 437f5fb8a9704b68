"""An engine's virtual environment, from the mirror's wheels and nothing else; and engines of services that are no more."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from steelyard.change import Change
from steelyard.modules.facts.engine import MARK, Engine, EngineState, Lock, OfferedLock
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.refusal import Refusal

UNITS = "/etc/systemd/system"
ENDS = (".env", ".yaml", ".json")  # of what a service has in /etc/steelyard/services


def venv_commands(folder: str, index: str, lock_url: str, offered: OfferedLock, now: EngineState) -> list[StringCommand]:
    """Commands that install the environment from scratch; none where it was installed from this very lock.

    The mark is written last: a half-made environment is made again. compileall meets files for newer Pythons, so its
    exit status says nothing.
    """
    if now.lock_sha256 == offered.sha256 and now.distributions >= offered.lines:
        return []
    live = "missing" if now.lock_sha256 is None else "another set of wheels"
    what = {"subject": folder, "declared": f"{offered.lines} wheels of the mirror's lock", "live": live}
    at, lock = QuoteString(folder), QuoteString(f"{folder}/.lock.new")
    fetch = (
        "import hashlib,sys,urllib.request as u\n"
        "b=u.urlopen(sys.argv[1],timeout=30).read()\n"
        "assert hashlib.sha256(b).hexdigest()==sys.argv[3], 'the lock changed since the plan'\n"
        "open(sys.argv[2],'wb').write(b)"
    )
    host_name = index.split("/")[2].split(":")[0]
    pip = [
        "PIP_NO_CACHE_DIR=1", QuoteString(f"{folder}/bin/pip"), "install -q --isolated --no-deps --only-binary :all: --no-compile",
        "--disable-pip-version-check --index-url", QuoteString(index), "--trusted-host", QuoteString(host_name),
        "--require-hashes -r", lock,
    ]  # fmt: skip
    digest = QuoteString(str(offered.sha256))
    return [
        Change("rm -rf", at, "&& python3 -m venv", at, **what),
        Change("python3 -I -c", QuoteString(fetch), QuoteString(lock_url), lock, digest, **what),
        Change(*pip, **what),
        Change(
            QuoteString(f"{folder}/bin/python"),
            "-m compileall -q -j 0",
            QuoteString(f"{folder}/lib"),
            ">/dev/null; true",
            **what,
        ),
        Change("mv -T", lock, QuoteString(f"{folder}/{MARK}"), **what),
    ]


def forgotten_commands(declared: tuple[str, ...], there: dict[str, str]) -> list[StringCommand]:
    """`there`: units of engines that were ever set up, each with its service. Each that is declared no more stops, and is gone."""
    names = {unit.split("@", 1)[1].removesuffix(".service") for unit in declared}
    commands: list[StringCommand] = []
    for unit, service in sorted(there.items()):
        if unit in declared:
            continue
        live = "another engine's" if service in names else "still set up"
        left = {"subject": unit, "declared": "no service of this host", "live": live}
        socket = QuoteString(f"steelyard-lazy@{service}.socket")
        others = [] if service in names else [f"steelyard-watch@{service}.timer"]
        units = [socket, *(QuoteString(name) for name in others), QuoteString(unit)]
        stop = ["systemctl disable --now --quiet", *units, "2>/dev/null; systemctl reset-failed", *units, "2>/dev/null;"]
        commands.append(Change(*stop, "! systemctl is-active --quiet", QuoteString(unit), **left))
        gone = [f"{UNITS}/{unit}.d"]
        if service not in names:
            gone += [
                f"{UNITS}/steelyard-lazy@{service}.service.d",
                *(f"/etc/steelyard/services/{service}{end}" for end in ENDS),
            ]
            gone.append(f"/etc/steelyard/keys/{service}")
        commands.append(Change("rm -rf", *(QuoteString(path) for path in gone), "&& systemctl daemon-reload", **left))
    return commands


@operation()
def forgotten(units: tuple[str, ...]) -> Generator[StringCommand, None, None]:
    """Engines that ran for services which are declared no more, or run on another engine now, stop and start no more.

    `units` are the declared ones; what engines compiled, and versions in the store, stay.
    """
    there = host.get_fact(HelperAnswer, words=("services",))
    commands = forgotten_commands(units, there or {})
    if not commands:
        host.noop("nothing is set up that is not declared")
    yield from commands


@operation()
def venv(folder: str, index: str, lock_url: str) -> Generator[StringCommand, None, None]:
    """The environment at `folder` holds exactly the wheels of the lock that the mirror offers."""
    offered = host.get_fact(Lock, url=lock_url)
    now = host.get_fact(Engine, folder=folder)
    if offered.sha256 is not None:
        yield from venv_commands(folder, index, lock_url, offered, now)
    elif now.lock_sha256 is None and not state.is_executing:
        # the mirror may be set up earlier in this very run; the role declares what is unknown until then
        what = {"subject": folder, "declared": "the wheels of the mirror's lock", "live": "missing"}
        yield Change("python3 -m venv", QuoteString(folder), **what)
    elif now.lock_sha256 is None:
        yield Refusal(f"the mirror offers no wheels at {lock_url}, and the engine is not installed")
    else:
        host.noop(f"{folder} is installed; the mirror does not answer")
