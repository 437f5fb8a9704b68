"""`steelyard completion`: what a shell has to read, so that a TAB completes commands, options and names of the
inventory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from steelyard.errors import Exit, UsageWrong


def completion(shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> Exit:
    """Print what makes your shell complete steelyard. Commands, options, and names of the inventory that is meant.

    bash: `source <(steelyard completion bash)` in ~/.bashrc. zsh: the same in ~/.zshrc, after compinit. fish:
    `steelyard completion fish > ~/.config/fish/completions/steelyard.fish`. Names are those of the last command that
    read the
    inventory; a TAB reads no inventory and asks no host.
    """
    from steelyard.completion.shells import SCRIPTS, script

    if shell not in SCRIPTS:
        raise UsageWrong(
            where="steelyard completion", why=f"there is no completion for `{shell}`; there is for {', '.join(SCRIPTS)}"
        )
    print(script(shell, str(Path(sys.argv[0]).absolute())), end="")
    return Exit.DONE
