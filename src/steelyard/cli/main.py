"""`steelyard`: the entry point, which alone turns errors into exit codes. Nothing heavy is imported before it is known
to be needed.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from steelyard.errors import PathUnusable

# what the system says of a path, and only its user can mend; a file that is not there may be a bug of ours
OF_PATHS = frozenset(
    [
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.EEXIST,
    ]
)
COMPLETE = "__complete"  # what shells call at a TAB: neither the parser nor any command is loaded for it


def main() -> None:
    """Entry point. Every failure a user can cause is one sentence with its fix; anything else is a bug and a
    traceback.
    """
    if sys.argv[1:2] == [COMPLETE]:
        from steelyard.completion.answer import answer

        sys.exit(answer(sys.argv[2:]))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is the handler: nothing is begun, nothing to say
    import typer

    from steelyard.errors import Exit, SteelyardError, UsageWrong
    from steelyard.interrupts.signals import HANDLER, Stopped, discard
    from steelyard.render import follow_up
    from steelyard.render.live import still
    from steelyard.render.screen import print_error

    from .program import COMMANDS, GROUPS, app, register

    HANDLER.install(follow_up.carried)
    gc.freeze()  # gevent's patch looks at every object for locks that are held; none of those so far is
    try:
        try:
            register(sys.argv[1:])
            follow_up.begin(sys.argv[1:])
            result: Any = app(standalone_mode=False)
        finally:
            still()  # whatever ended it is said below nothing that moves
        sys.stdout.flush()
    except Stopped as stopped:
        from .stopped import interrupted

        end = interrupted(stopped, sys.argv[1:])
        try:
            print_error(end, as_json="--json" in sys.argv[1:])
            sys.stdout.flush()
        except OSError:  # nobody reads it any more
            discard(sys.stdout.fileno())
        _leave(end.exit)
    except SteelyardError as error:
        print_error(error, as_json="--json" in sys.argv[1:])
        sys.exit(error.exit)
    except typer.TyperException as error:
        if getattr(error, "exit_code", None) == 0:
            sys.exit(Exit.DONE)
        message = error.format_message() or "a command is missing"
        usage = UsageWrong(
            where=" ".join(["steelyard", *[word for word in sys.argv[1:2] if word in COMMANDS + GROUPS]]),
            why=message[:1].lower() + message[1:].rstrip("."),
        )
        print_error(usage, as_json="--json" in sys.argv[1:])
        sys.exit(usage.exit)
    except typer.Abort:
        sys.exit(Exit.USAGE)
    except BrokenPipeError:  # whoever read our output has gone: nothing is left to say, at exit neither
        discard(sys.stdout.fileno())
        sys.exit(Exit.USAGE)
    except OSError as error:
        if error.errno not in OF_PATHS or not isinstance(error.filename, str | bytes | os.PathLike):
            raise
        unusable = _unusable(os.fsdecode(error.filename), error.strerror or str(error))
        print_error(unusable, as_json="--json" in sys.argv[1:])
        sys.exit(unusable.exit)
    sys.exit(int(result or 0))


def _leave(code: int) -> NoReturn:
    """End the process without waiting for threads that still read or hash: nobody wants their answers."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            pass
    os._exit(code)


def _unusable(where: str, why: str) -> PathUnusable:
    """Where the path is not there, what can be looked at is the folder that it would be in."""
    from pathlib import Path

    from steelyard.errors import PathUnusable

    there = next((path for path in (Path(where), *Path(where).parents) if os.path.lexists(path)), Path())
    return PathUnusable(where=where, why=why, there=str(there))


if __name__ == "__main__":
    main()
