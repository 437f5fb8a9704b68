"""Import this before anything that opens sockets: pyinfra runs its hosts in gevent's greenlets.

Three imports are kept from costing more than they give, a sixth of a second together: gevent looks through every
installed distribution for plug-ins 25 times while it patches; paramiko loads `invoke` for one keyword of ssh_config, for
which pyinfra has its own; typeguard, which pyinfra checks arguments with, loads `unittest.mock`, and with it asyncio.
"""

import importlib
import sys
from types import ModuleType

import gevent.events

gevent.events.notify_and_call_entry_points = gevent.events.notify

from gevent import monkey  # noqa: E402

monkey.patch_all()


def _import_without(missing: str, stand_in: ModuleType | None, name: str) -> None:
    """Import `name` while `missing` is not there, or is only its stand-in; whoever asks for it later gets it."""
    if missing in sys.modules or name in sys.modules:
        return
    sys.modules[missing] = stand_in  # type: ignore[assignment]
    try:
        importlib.import_module(name)
    finally:
        del sys.modules[missing]


_import_without("invoke", None, "paramiko.config")
_no_mock = ModuleType("unittest.mock")
_no_mock.Mock, _no_mock.patch = type("Mock", (), {}), None  # type: ignore[attr-defined]
_import_without("unittest.mock", _no_mock, "typeguard")
