"""Writes the lab's inventory from the committed templates; secrets are made per lab and encrypted with its vault."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from steelyard.inventory.ansible import encrypt_value
from steelyard.inventory.choice import LAB_MARK
from steelyard.inventory.password import PASSWORD_BESIDE

from .nspawn.paths import LabPaths, cache_root
from .nspawn.record import Lab
from .simulated.dify_host import EMAIL, PORT

TEMPLATES = Path(__file__).parent / "inventory"


def lab_secrets(paths: LabPaths) -> dict[str, str]:
    """The lab's secrets by name; made once per lab, readable by root only."""
    kept = paths.root / "secrets.json"
    if not kept.exists():
        made = {
            "dify_password": "lab1-" + secrets.token_hex(12),
            "engine_key": "sk-engine-" + secrets.token_hex(16),
            "dify_client_key": "sk-dify-" + secrets.token_hex(16),
            "demo_client_key": "sk-demo-" + secrets.token_hex(16),
        }
        paths.root.mkdir(parents=True, exist_ok=True)
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(made))
        paths.vault_password.touch(mode=0o600)
        paths.vault_password.write_text(secrets.token_hex(24) + "\n")
    stored: dict[str, str] = json.loads(kept.read_text())
    return stored


def write_inventory(lab: Lab) -> Path:
    """Write every template; files that are already as wanted, and the operator's own, stay."""
    groups: dict[str, list[str]] = {}
    for host in lab.hosts:
        for group in host.groups:
            groups.setdefault(group, []).append(host.name)
    values = {
        "groups": groups,
        "addresses": lab.addresses(),
        "key": lab.paths.key,
        "known_hosts": lab.paths.known_hosts,
        "models": cache_root() / "models",
        "dify_port": PORT,
        "dify_email": EMAIL,
    }
    made = lab_secrets(lab.paths)
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True)
    environment.globals["vault"] = lambda name: _encrypted(made[name], lab.paths.vault_password)
    for name in environment.list_templates(extensions=["j2"]):
        target = lab.inventory / name.removesuffix(".j2")
        if target.exists() and name != "hosts.yml.j2":
            continue  # an operator may be trying things out in it
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(environment.get_template(name).render(values))
    password = lab.inventory / PASSWORD_BESIDE
    password.touch(mode=0o600)
    password.write_text(lab.paths.vault_password.read_text())
    (lab.inventory / LAB_MARK).write_text("")
    return lab.inventory


def _encrypted(text: str, password: Path) -> str:
    """A `!vault |` block, indented deeper than any key it may stand behind."""
    lines = encrypt_value(text, password).splitlines()
    return "!vault |\n" + "\n".join(" " * 10 + line for line in lines)
