"""Puts the simulated Dify on a lab host: the contract double as a systemd service, installed before boot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dify_double
from steelyard.lab.nspawn.machine import place, place_enabled_unit

PORT = 8090
EMAIL = "admin@lab.example"
UNIT = f"""\
[Unit]
Description=simulated Dify: a contract double of the console API
After=network.target

[Service]
DynamicUser=yes
StateDirectory=lab-dify
Environment=PYTHONPATH=/opt/steelyard-lab PYTHONDONTWRITEBYTECODE=1
LoadCredential=admin:/opt/steelyard-lab/dify-admin
ExecStart=/usr/bin/python3 -m dify_double --port {PORT} --state /var/lib/lab-dify/state.json --admin-file %d/admin
Restart=always

[Install]
WantedBy=multi-user.target
"""


def install(root: Path, password: str) -> None:
    """Copy the double, its unit and its administrator into a host's root."""
    target = root / "opt/steelyard-lab/dify_double"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(Path(str(dify_double.__file__)).parent, target, ignore=shutil.ignore_patterns("__pycache__"))
    place(root, "opt/steelyard-lab/dify-admin", json.dumps({"email": EMAIL, "password": password}), 0o600)
    place_enabled_unit(root, "lab-dify.service", UNIT, "multi-user.target")
