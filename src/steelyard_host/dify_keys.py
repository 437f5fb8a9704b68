"""The private keys of Dify's workspaces: without them every model credential in the database is lost for good.

Each workspace has a public key in the table `tenants` and its private half in app/storage/privkeys. A backup without
them looks whole and is not; a missing or foreign one is told while the right one may still be found.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import dify_stack
from .dify_database import query

QUERY = "SELECT id || ' ' || replace(coalesce(encrypt_public_key, ''), E'\\n', '|') FROM tenants"
KEYS = "volumes/app/storage/privkeys"


def lost(stack: dify_stack.Stack, storage: Path | None = None) -> list[str]:
    """Workspaces whose private key is not there, or is another's; empty where the database cannot be asked yet."""
    try:
        lines = query(stack, stack.config.get("databases", ["dify"])[0], QUERY)
    except dify_stack.DifyError:
        return []
    folder = storage or stack.folder / KEYS
    found = []
    for line in lines:
        tenant, _, public = line.partition(" ")
        if public and not _fits(folder / tenant / "private.pem", public.replace("|", "\n").strip()):
            found.append(tenant)
    return sorted(found)


def _fits(path: Path, public: str) -> bool:
    if not path.is_file():
        return False
    done = subprocess.run(["openssl", "rsa", "-in", str(path), "-pubout"], capture_output=True, text=True)
    # one half may be written as PKCS#1: compare only where both are alike in form
    shown = done.stdout.strip()
    if done.returncode != 0:
        return False
    return shown == public or shown.splitlines()[:1] != public.splitlines()[:1]
