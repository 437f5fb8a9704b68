"""The helper as a program of its own that takes a folder for its host; what a test adds to it comes behind."""

from __future__ import annotations

ON_A_FOLDER = """
import os, sys
from pathlib import Path
from steelyard_host.dify import api_probe, backup, env_file, exclusive, job_progress, stack, upgrade, vectors
from steelyard_host.__main__ import main
root = Path(sys.argv.pop(1))
backup.MARKS = root / "state/marks.json"
upgrade.STATE, upgrade.OPEN = root / "state/upgrade.json", root / "state/upgrade-open"
job_progress.FOLDER, stack.CONFIG, env_file.OURS = root / "doing", root / "dify.json", root / "dify.env"
stack.Stack.ask = lambda self, path: (200, None)
api_probe.answered = lambda target, held, seconds: "its API answers"
"""
