# steelyard: role llamacpp
"""Starts llama.cpp's own HTTP server, which xllamacpp holds, from a service's config file. Nothing of ours is in a
request's way.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

LATER_PART = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")


def model_file(folder: Path) -> Path:
    """The one GGUF of the version; of one in parts the first, which names the others. Exits with a sentence."""
    files = sorted(folder.glob("*.gguf"))
    first = [path for path in files if not path.name.startswith("mmproj")]
    first = [path for path in first if (LATER_PART.search(path.name) or ["", "00001"])[1] == "00001"]
    if len(first) != 1:
        names = ", ".join(path.name for path in first) or "none"
        sys.exit(f"Error: the version must hold one model as GGUF, and it holds {names}")
    return first[0]


def parameters(xllamacpp: Any, config: dict[str, Any]) -> Any:
    """Exits with a sentence where an option is not one of this version's."""
    given = xllamacpp.CommonParams()
    given.model.path = str(model_file(Path(config["folder"])))
    images = sorted(Path(config["folder"]).glob("mmproj*.gguf"))
    if images:
        given.mmproj.path = str(images[0])
    given.hostnames = [config["socket"]]
    given.model_alias = set(config["names"])
    given.endpoint_metrics, given.endpoint_slots, given.ui, given.offline = True, False, False, True
    for name, value in config["options"].items():
        _set(given, name, value)
    return given


def _set(given: Any, name: str, value: Any) -> None:
    if name in ("n_threads", "n_threads_batch"):
        threads = given.cpuparams if name == "n_threads" else given.cpuparams_batch
        threads.n_threads = int(value)
        return
    if not hasattr(given, name):
        sys.exit(f"Error: this version of llama.cpp has no option `{name}`")
    try:
        setattr(given, name, value)
    except (TypeError, ValueError) as error:
        sys.exit(f"Error: option `{name}` cannot be {value!r}: {error}")


def main() -> None:
    import xllamacpp

    config = json.loads(Path(sys.argv[1]).read_text())
    Path(config["socket"]).unlink(missing_ok=True)  # a socket that is there already cannot be listened on
    os.umask(0o007)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before its threads are made, so that this one gets them
    server = xllamacpp.Server(parameters(xllamacpp, config))
    print(f"listening on {server.listening_address}", flush=True)
    signal.sigwait(signals)
    os._exit(0)  # whoever stops it has waited for its requests


if __name__ == "__main__":
    main()
