"""`steelyard models`: versions of models, from their source to the hosts, and away again."""

from __future__ import annotations

import typer

from .fit import fit
from .hosts import cache, ls, push, shard, verify, warm
from .retention import diff, gc, keep, rm
from .sources import add, export, prune, sign

app = typer.Typer(help="Versions of models, on this machine and on the hosts.", no_args_is_help=True)
for command in (add, sign, fit, push, ls, verify, warm, cache, shard, diff, export, keep, rm, gc, prune):
    app.command()(command)
