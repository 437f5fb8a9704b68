"""The private keys of Dify's workspaces: without them every model credential in the database is lost for good.

Each workspace has a public key in the table `tenants` and its private half in app/storage/privkeys. A backup without
them looks whole and is not; a missing or foreign one is told while the right one may still be found.
"""

from __future__ import annotations

import subprocess

from steelyard_host.dify.database import query
from steelyard_host.dify.stack import DifyError, Stack
from steelyard_host.system import beneath

QUERY = "SELECT id || ' ' || replace(coalesce(encrypt_public_key, ''), E'\\n', '|') FROM tenants"
KEYS = "volumes/app/storage/privkeys"
LARGEST = 65536  # bytes of a private key


def lost(stack: Stack) -> list[str]:
    """Workspaces whose private key is not there, or is another's; empty where the database cannot be asked yet."""
    try:
        lines = query(stack, stack.config.get("databases", ["dify"])[0], QUERY)
    except DifyError:
        return []
    missing = []
    with beneath.opened(stack.folder) as top:
        for line in lines:
            tenant, _, public = line.partition(" ")
            if public and not _fits(_private_key(top, tenant), public.replace("|", "\n").strip()):
                missing.append(tenant)
    return sorted(missing)


def _private_key(top: int, tenant: str) -> bytes:
    """The text of a workspace's private key, which containers may write; empty where it is no file of theirs."""
    try:
        with beneath.file_at(top, "%s/%s/private.pem" % (KEYS, tenant)) as file:
            return file.read(LARGEST)
    except OSError:
        return b""


def _fits(private: bytes, public: str) -> bool:
    if not private:
        return False
    done = subprocess.run(["openssl", "rsa", "-pubout"], input=private, capture_output=True)
    # one half may be written as PKCS#1: compare only where both are alike in form
    shown = done.stdout.decode(errors="replace").strip()
    if done.returncode != 0:
        return False
    return shown == public or shown.splitlines()[:1] != public.splitlines()[:1]
