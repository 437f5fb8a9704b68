"""`steelyard models`: versions of models, from their source to the hosts, and away again."""

from __future__ import annotations

import typer

from .model_fit import fit
from .model_hosts import cache, ls, push, shard, verify, warm
from .model_kept import diff, gc, keep, rm
from .model_sources import add, export, prune, sign

app = typer.Typer(help="Versions of models, on this machine and on the hosts.", no_args_is_help=True)
for command in (add, sign, fit, push, ls, verify, warm, cache, shard, diff, export, keep, rm, gc, prune):
    app.command()(command)
