"""Options that commands share: declared once, and shown where each command's `run` stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from support.keyboard import typed

from steelyard.cli.common import Run, command
from steelyard.errors import ConfirmationImpossible, Exit, HostUnreachable, SteelyardError
from steelyard.render.screen import Screen

Size = Annotated[int, typer.Option("--size")]
After = Annotated[int, typer.Option("--after")]


@dataclass(frozen=True)
class Look:
    """Options that two commands share."""

    colour: Annotated[str, typer.Option("--colour")] = "red"
    weight: Annotated[int, typer.Option("--weight")] = 3


def options(called: Any) -> list[str]:
    """Long spellings, in the order of the help."""
    app = typer.Typer(add_completion=False)
    app.command()(called)
    parser: Any = typer.main.get_command(app)
    return [max(param.opts, key=len) for param in parser.params]


def test_shared_options_stand_where_run_stands_and_the_others_behind() -> None:
    @command(limit=True, deploy=True, yes=True)
    def apply(
        *, name: str = "", before: Size = 1, run: Run, after: Annotated[int, typer.Option("--after")] = 2
    ) -> Exit:
        return Exit.DONE

    others = ["--vault-password-file", "--yes", "--json", "--quiet", "--no-color"]
    assert options(apply) == ["--name", "--size", "--inventory", "--limit", "--deploy", "--after", *others]


def test_the_vaults_option_may_stand_before_the_commands_own() -> None:
    @command(vault_first=True)
    def secrets(run: Run, size: Size = 1) -> Exit:
        return Exit.DONE

    assert options(secrets)[:3] == ["--inventory", "--vault-password-file", "--size"]


def test_a_command_without_an_inventory_has_no_vault() -> None:
    @command(inventory="none", verbose=True)
    def verify(run: Run) -> Exit:
        return Exit.DONE

    assert options(verify) == ["--json", "--verbose", "--quiet", "--no-color"]


def test_a_dataclass_stands_for_its_fields() -> None:
    seen: list[Look] = []

    @command(inventory="none")
    def show(run: Run, look: Look) -> Exit:
        seen.append(look)
        return Exit.DONE

    assert options(show)[:2] == ["--colour", "--weight"]
    show(weight=5)
    assert seen == [Look(weight=5)]


def test_the_run_has_what_was_given_and_else_the_defaults() -> None:
    runs: list[Run] = []

    @command(deploy=True)
    def ls(run: Run) -> Exit:
        runs.append(run)
        return run.exit()

    assert ls(inventory=[Path("prod")], deploy="serve", quiet=True) is Exit.DONE
    run = runs[0]
    assert (run.inventory, run.limit, run.yes, run.deploy) == (Path("prod"), "all", False, "serve")
    assert (run.screen.quiet, run.screen.json) == (True, False)
    assert run.options.connecting
    assert not run.offline.connecting


def test_an_option_that_no_command_has_is_refused() -> None:
    @command()
    def ls(run: Run) -> Exit:
        return Exit.DONE

    with pytest.raises(TypeError, match="limit"):
        ls(limit="gpu")


def test_a_host_that_failed_counts_more_than_changes() -> None:
    failed: dict[str, SteelyardError] = {"g1": HostUnreachable(where="g1", why="x", address="y")}
    assert Run(Screen()).exit(Exit.CHANGES) is Exit.CHANGES
    assert Run(Screen(), errors=failed).exit(Exit.CHANGES) is Exit.HOST_FAILED


def test_nobody_is_asked_with_yes_and_nobody_can_be_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    ask: dict[str, Any] = {"where": "steelyard x", "changes": 2, "look": "see it", "show": lambda: shown.append("plan")}
    assert Run(Screen(), yes=True).confirmed("Do it?", **ask)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(ConfirmationImpossible, match="2"):
        Run(Screen()).confirmed("Do it?", **ask)
    assert shown == []
    typed(monkeypatch, "y\n")
    assert Run(Screen()).confirmed("Do it?", **ask)
    assert shown == ["plan"]
