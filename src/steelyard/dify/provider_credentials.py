"""Credentials that a person put into a provider's own form: Dify deletes those of a plugin when it is uninstalled."""

from __future__ import annotations

import urllib.parse

from steelyard.errors import DifyRefused

from .client import DifyClient
from .console import NamedCredential, Provider
from .desired_state import BASE, MODEL_TYPES


def provider_credentials(client: DifyClient, plugin: str) -> list[str]:
    """The credentials that an uninstall of the plugin would delete, each as a text that names it; reads only."""
    providers: dict[str, Provider] = {}
    for model_type in (None, *MODEL_TYPES):  # without a type some releases list providers of llms only
        query = f"?model_type={model_type}" if model_type else ""
        for entry in client.get(BASE + query)["data"]:
            if entry["provider"].startswith(f"{plugin}/"):
                providers.setdefault(entry["provider"], entry)
    return [
        f"credential `{credential['credential_name']}` of {name}"
        for name, provider in sorted(providers.items())
        for credential in (provider.get("custom_configuration") or {}).get("available_credentials") or ()
        if _is_alive(client, name, credential)
    ]


def _is_alive(client: DifyClient, provider: str, credential: NamedCredential) -> bool:
    """False for one that is deleted and still listed: Dify lists what was deleted from its cache for some minutes."""
    query = urllib.parse.urlencode({"credential_id": credential["credential_id"]})
    try:
        answer = client.get(f"{BASE}/{provider}/credentials?{query}")
    except DifyRefused as refused:
        if refused.status in ("400", "404"):
            return False
        raise
    return bool(answer.get("credentials"))
