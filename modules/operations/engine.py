"""An engine's virtual environment, from the mirror's wheels and nothing else."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from steelyard.api.change import Change, Effect, Reason, Refusal
from steelyard.modules.facts.engine import MARK, Engine, EngineState, Lock, OfferedLock

from .progress import wheel_progress


def venv_commands(
    folder: str, index: str, lock_url: str, offered: OfferedLock, current: EngineState
) -> list[StringCommand]:
    """Commands that install the environment from scratch; none where it was installed from this very lock.

    The mark is written last: a half-made environment is made again. compileall meets files for newer Pythons, so its
    exit status says nothing.
    """
    if current.lock_sha256 == offered.sha256 and current.distributions >= offered.lines:
        return []
    live = "missing" if current.lock_sha256 is None else "another set of wheels"
    what: Reason = {"subject": folder, "declared": f"{offered.lines} wheels of the mirror's lock", "live": live}
    at, lock = QuoteString(folder), QuoteString(f"{folder}/.lock.new")
    fetch = (
        "import hashlib,sys,urllib.request as u\n"
        "b=u.urlopen(sys.argv[1],timeout=30).read()\n"
        "assert hashlib.sha256(b).hexdigest()==sys.argv[3], 'the lock changed since the plan'\n"
        "open(sys.argv[2],'wb').write(b)"
    )
    host_name = index.split("/")[2].split(":")[0]
    pip = [
        "PIP_NO_CACHE_DIR=1",
        *wheel_progress(folder, index, f"{folder}/.lock.new"),
        QuoteString(f"{folder}/bin/pip"),
        "install -q --isolated --no-deps --only-binary :all: --no-compile",
        "--disable-pip-version-check --index-url",
        QuoteString(index),
        "--trusted-host",
        QuoteString(host_name),
        "--require-hashes -r",
        lock,
    ]
    digest = QuoteString(str(offered.sha256))
    # an engine that runs has what is removed mapped, or imports it yet
    effect = Effect.CHANGE if current.lock_sha256 is None else Effect.REMOVAL
    return [
        Change("rm -rf", at, "&& python3 -m venv", at, **what, effect=effect),
        Change("python3 -I -c", QuoteString(fetch), QuoteString(lock_url), lock, digest, **what),
        Change(*pip, **what),
        Change(
            # without site: a .pth file of a wheel is code, and would run here as root
            QuoteString(f"{folder}/bin/python"),
            "-I -S -m compileall -q -j 0",
            QuoteString(f"{folder}/lib"),
            ">/dev/null; true",
            **what,
        ),
        # what was installed is on the disk before anything says so
        Change("sync -f", at, "&& mv -T", lock, QuoteString(f"{folder}/{MARK}"), "&& sync", at, **what),
    ]


def other_lock(declared: str | None, offered: OfferedLock, lock_url: str, setting: str) -> str | None:
    """Return why nothing is installed: the mirror's lock is not the declared one; None where it may be."""
    if declared is None or offered.sha256 == declared:
        return None
    return (
        f"the mirror's lock at {lock_url} is {offered.sha256}, and `{setting}` declares {declared}: "
        f"nothing is installed;"
        f" bring the declared wheels with `steelyard wheels push`, or declare the lock that you looked through"
    )


@operation()
def venv(
    folder: str, index: str, lock_url: str, lock_sha256: str | None = None, setting: str = "lock_sha256"
) -> Generator[StringCommand, None, None]:
    """The environment at `folder` holds exactly the wheels of the lock that the mirror offers.

    `lock_sha256`: of the one lock that may be installed from, declared as `setting`; whatever else the mirror offers is
    refused.
    """
    offered = host.get_fact(Lock, url=lock_url)
    current = host.get_fact(Engine, folder=folder)
    if offered.sha256 is not None:
        refused = other_lock(lock_sha256, offered, lock_url, setting)
        if refused is None:
            yield from venv_commands(folder, index, lock_url, offered, current)
        elif current.lock_sha256 == lock_sha256:
            host.noop(f"{folder} is of the declared lock; the mirror offers another")
        else:
            yield Refusal(refused)
    elif current.lock_sha256 is None and not state.is_executing:
        # the mirror may be set up earlier in this very run; the role declares what is unknown until then
        what: Reason = {"subject": folder, "declared": "the wheels of the mirror's lock", "live": "missing"}
        yield Change("python3 -m venv", QuoteString(folder), **what)
    elif current.lock_sha256 is None:
        yield Refusal(f"the mirror offers no wheels at {lock_url}, and the engine is not installed")
    elif lock_sha256 is not None and current.lock_sha256 != lock_sha256:
        yield Refusal(
            f"{folder} is of lock {current.lock_sha256}, `{setting}` declares {lock_sha256}, "
            "and the mirror does not answer"
        )
    else:
        host.noop(f"{folder} is installed; the mirror does not answer")
