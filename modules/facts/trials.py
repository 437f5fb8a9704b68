"""Switches of services to another version that are neither confirmed nor undone. Source: the records that the helper
keeps, and the kernel's id of this boot.
"""

from __future__ import annotations

import json

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from steelyard_host import paths
from steelyard_host.wire.codec import WireError, from_json
from steelyard_host.wire.rollout import OpenTrial, Trial

BOOT = "/proc/sys/kernel/random/boot_id"


def parse_trials(lines: list[str]) -> dict[str, OpenTrial]:
    """Open trials by service, from the boot's id and a record a line; one that a reboot cut short is undone by it.

    Raises FactProcessError.
    """
    trials = {}
    for line in lines[1:]:
        try:
            trial = from_json(Trial, json.loads(line))
        except (ValueError, WireError) as error:
            raise FactProcessError(f"trials: cannot read {line[:120]}: {error}") from error
        if trial.state.is_open and trial.boot == lines[0]:
            trials[trial.service] = OpenTrial.of(trial)
    return trials


class OpenTrials(FactBase["dict[str, OpenTrial]"]):
    """Open trials of the host's services, by the service's name."""

    def command(self) -> StringCommand:
        records = f"{paths.TRIAL_RECORDS}/*.json"
        shown = 'if test -e "$record"; then cat "$record"; echo; fi'
        return StringCommand(f"cat {BOOT}; for record in {records}; do {shown}; done")

    def process(self, output: list[str]) -> dict[str, OpenTrial]:
        return parse_trials([line for line in output if line])

    @staticmethod
    def default() -> dict[str, OpenTrial]:
        return {}
