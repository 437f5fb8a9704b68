"""The program's commands: registers them with the parser, all of them or the one that is asked for."""

from __future__ import annotations

from importlib import import_module

import typer

COMMANDS = (
    "init",
    "doctor",
    "preflight",
    "plan",
    "apply",
    "drift",
    "status",
    "logs",
    "version",
    "inventory",
    "rollout",
    "rollback",
    "completion",
)
GROUPS = ("host", "models", "wheels", "bench", "lock", "mirror", "dify", "lab")
FOLDERS = ("models", "dify")  # groups whose commands are in files of their own

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
            room = import_module(f".{name}.group" if name in FOLDERS else f".{name}", __package__)
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
