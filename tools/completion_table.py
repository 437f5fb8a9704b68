"""The table that a TAB is answered from, made of the parser's own tree, so that no TAB has to load the parser."""

from __future__ import annotations

import inspect
from typing import Any

import typer

LIVE = {"PATTERN": "hosts", "HOST": "hosts", "ALIAS": "aliases", "MODEL": "models", "TARGET": "targets"}
FILES = ("DIR", "FILE", "FOLDER", "PLAN", "PACKAGE")
# what only its user can know: numbers, texts, addresses, versions of other things
OPEN = (
    "A,B",
    "ARCHIVE",
    "COMMAND",
    "DAYS",
    "GIB",
    "HOSTS",
    "HOURS",
    "KEY",
    "LAYER",
    "MBIT",
    "MIB",
    "N",
    "N|P%",
    "SECONDS",
    "P%",
    "S",
    "TEXT",
    "URI",
    "URL",
    "X",
)


def completion_table() -> dict[str, Any]:
    """The table of the whole program. Raises LookupError where nobody has said what a metavar completes to."""
    from steelyard.cli.program import app, register

    register([])
    return _node(typer.main.get_command(app), ())


def _node(command: Any, words: tuple[str, ...]) -> dict[str, Any]:
    context = typer.Context(command, info_name=words[-1] if words else "steelyard", **command.context_settings)
    options, arguments = [], []
    for param in command.get_params(context):
        if param.param_type_name == "argument":
            arguments.append([_kind(param, words), param.nargs == -1])
        else:
            value = None if param.is_flag or param.count else _kind(param, words)
            # sorted, because the parser keeps those of --help as a set
            spellings = sorted([*param.opts, *param.secondary_opts], key=lambda word: (len(word), word))
            options.append([spellings, value, _sentence(param.help or "")])
    below = getattr(command, "commands", {})
    return {
        "help": _sentence(command.help or ""),
        "commands": {name: _node(each, (*words, name)) for name, each in below.items() if not each.hidden},
        "options": options,
        "arguments": arguments,
    }


def _kind(param: Any, words: tuple[str, ...]) -> Any:
    metavar = (param.metavar or "").strip("[].")
    spelled = max(param.opts, key=len)
    fixed = _fixed().get(spelled if param.param_type_name == "option" else metavar)
    if fixed is not None:
        return fixed
    if words[:1] == ("lab",) and (spelled == "--name" or metavar == "HOST"):
        return "labs" if spelled == "--name" else "lab_hosts"
    if metavar == "VERSION":  # of a model, where it is an argument; else of something of which we know no names
        return "versions" if param.param_type_name == "argument" and words != ("models", "add") else "nothing"
    if metavar in LIVE:
        return LIVE[metavar]
    if metavar in FILES or "path" in str(param.type).lower():
        return "files"
    if metavar in OPEN or not metavar or spelled == "--registry":
        return "nothing"
    raise LookupError(f"steelyard {' '.join(words)}: say in tools/completion_table.py what {metavar} completes to")


def _fixed() -> dict[str, list[str]]:
    """Values of what has few of them, by the option's name, or by the argument's metavar."""
    from steelyard.artifacts.wheel_sets import BUILDS
    from steelyard.completion.shells import SCRIPTS
    from steelyard.dify.environment import SECRETS
    from steelyard.render.reports import FORMATS
    from steelyard.rollout.request import OnInterrupt
    from steelyard.rollout.strategy import STRATEGIES
    from steelyard.workflows.log_targets import KINDS
    from steelyard.workflows.run_context import deploy_folder

    deploys = sorted(path.stem for path in deploy_folder().glob("*.py") if path.stem != "__init__")
    return {
        "--deploy": deploys,
        "--strategy": list(STRATEGIES),
        "--on-interrupt": [way.value for way in OnInterrupt],
        "--report": sorted(FORMATS),
        "--renew": sorted(SECRETS),
        "--unit": list(KINDS),
        "SET": list(BUILDS),
        "SHELL": list(SCRIPTS),
    }


def _sentence(text: str) -> str:
    """The first sentence of a text, without its stop."""
    words = inspect.cleandoc(text).split("\n\n")[0].split()
    end = next((at for at, word in enumerate(words) if word.endswith(".") and word != "..."), len(words) - 1)
    return " ".join(words[: end + 1]).removesuffix(".")
