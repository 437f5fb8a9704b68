"""containerd's configuration: our keys merged into its file, a restart where the running daemon is older than it.

Not by drop-ins: containerd takes a plug-in's whole table from the last file that has it, so two drop-ins undo each
other. Running containers stay: their shims outlive the daemon.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import FileWrite, Refusal
from steelyard.modules.facts.path import Content
from steelyard.modules.operations.json_merge import JsonObject, NotJson, differing, merge, read_object, written
from steelyard_host import paths

FILE, OWNED = "/etc/containerd/config.toml", paths.CONFIGURATION + "/containerd-owned.json"
DROP_IN = "/etc/systemd/system/containerd.service.d/50-steelyard.conf"
CRI = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
IMAGES = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}


def keys_for(version: int, certs: str | None, cdi: bool, runtime: bool) -> JsonObject:
    """Return the keys of registries by `certs.d`, CDI and the `nvidia` runtime in a configuration of this version
    (2, or 3 from 2.0).
    """
    keys: JsonObject = {"version": version, "plugins": {}}
    if certs is not None:
        keys["plugins"].setdefault(IMAGES[version], {})["registry"] = {"config_path": certs}
    if cdi:
        keys["plugins"].setdefault(CRI[version], {})["enable_cdi"] = True
    if runtime:
        options = {"BinaryName": "/usr/bin/nvidia-container-runtime"}
        entry = {"runtime_type": "io.containerd.runc.v2", "options": options}
        keys["plugins"].setdefault(CRI[version], {})["containerd"] = {"runtimes": {"nvidia": entry}}
    return keys


def configured_commands(
    live: bytes | None, record: bytes | None, certs: str | None, cdi: bool, runtime: bool
) -> list[StringCommand]:
    """The file with our keys, those of others kept (its comments are not), and the record of ours."""
    import tomli_w

    try:
        before = tomllib.loads((live or b"").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return [Refusal(f"{FILE} is not TOML: {error}")]
    version = int(before.get("version", 2))
    if version not in CRI:
        return [
            Refusal(
                f"{FILE} has version {version}, and 2 and 3 are known; `containerd config migrate` makes it one of them"
            )
        ]
    owned = read_object(record.decode() if record else None)
    merged, now_owned = merge(
        before, keys_for(version, certs, cdi, runtime), {} if isinstance(owned, NotJson) else owned
    )
    commands: list[StringCommand] = []
    if merged != before:
        keys = ", ".join(pointer[1:] for pointer in differing(before, merged))
        content = ("# steelyard: merged by role docker\n" + tomli_w.dumps(merged)).encode()
        shown = f"other values of {keys}" if live else "missing"
        commands.append(
            FileWrite(FILE, content, mode="0644", user="root", group="root", live=shown, before=live or b"")
        )
    if now_owned != owned or record is None:
        commands.append(
            FileWrite(OWNED, written(now_owned).encode(), mode="0644", user="root", group="root", live="another record")
        )
    return commands


def stamp_text(certs: str | None, cdi: bool, runtime: bool) -> str:
    """Return the text that the unit's stamp is made from."""
    return json.dumps([certs, cdi, runtime])


@operation()
def configured(certs: str | None, cdi: bool, runtime: bool) -> Generator[StringCommand, None, None]:
    """containerd's file has these keys beside those of others."""
    commands = configured_commands(
        host.get_fact(Content, path=FILE), host.get_fact(Content, path=OWNED), certs, cdi, runtime
    )
    if not commands:
        host.noop(f"{FILE} has the declared keys")
    yield from commands
