"""`steelyard`: registers the commands, and alone turns errors into exit codes."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import Any

import typer

from steelyard.errors import Exit, SteelyardError, UsageWrong

COMMANDS = ("init", "doctor", "preflight", "plan", "apply", "drift", "status", "inventory", "rollout", "rollback")
GROUPS = ("models", "bench", "lock", "mirror", "dify", "lab")

app = typer.Typer(
    name="steelyard",
    help="From bare GPU hosts to served, registered models; and to the next version without a failed request.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(words: list[str]) -> None:
    """Each command lives in the file of its name. Only the one asked for is loaded; where none is, all are."""
    asked = {word for word in words[:1] if word in COMMANDS + GROUPS} or {*COMMANDS, *GROUPS}
    for name in COMMANDS + GROUPS:
        if name in asked:
            room = import_module(f".{name}", __package__)
            if name in GROUPS:
                app.add_typer(room.app, name=name)
            else:
                app.command(name)(getattr(room, name))


@app.callback(invoke_without_command=True)
def version_option(
    context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version and stop.")
) -> None:
    """From bare GPU hosts to served, registered models; and to the next version without a failed request."""
    if version:
        from steelyard import __version__

        print(f"steelyard {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Entry point. Every failure a user can cause is one sentence with its fix; anything else is a bug and a traceback."""
    from steelyard.render.screen import print_error

    gc.freeze()  # gevent's patch looks at every object for locks that are held; none of those so far is
    register(sys.argv[1:])
    try:
        result: Any = app(standalone_mode=False)
        sys.stdout.flush()
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.USAGE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(Exit.HOST_FAILED)
    sys.exit(int(result or 0))


if __name__ == "__main__":
    main()
