"""Import this before anything that opens sockets: pyinfra runs its hosts in gevent's greenlets.

Some imports are kept from costing more than they give: gevent looks through every installed distribution for plug-ins
25 times while it patches; paramiko loads `invoke` for one keyword of ssh_config, for which pyinfra has its own;
typeguard, which pyinfra checks arguments with, looks for plug-ins too, and loads `unittest.mock`, and with it asyncio;
pyinfra loads jinja2 for templates of its own operations, and packaging for a deploy's REQUIRE_ lines, which few have:
they come when called.
"""

import importlib
import os
import sys
from types import ModuleType
from typing import Any

import gevent.events

gevent.events.notify_and_call_entry_points = gevent.events.notify

from gevent import monkey  # noqa: E402

monkey.patch_all()


class WhenCalled:
    """A name out of a module that is imported when the name is called, be it with another such name as an argument."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def real(self) -> Any:
        """Import the module and return what the name stands for."""
        return getattr(importlib.import_module(self.module), self.name)

    def __call__(self, *args: Any, **named: Any) -> Any:
        loaded = {key: value.real() if isinstance(value, WhenCalled) else value for key, value in named.items()}
        return self.real()(*args, **loaded)


def _later(module: str, *names: str) -> ModuleType:
    stand_in = ModuleType(module)
    for name in names:
        setattr(stand_in, name, WhenCalled(module, name))
    return stand_in


def _import_without(missing: dict[str, ModuleType | None], name: str) -> None:
    """Import `name` while these are not there, or are only stand-ins; whoever asks for them later gets them."""
    if name in sys.modules or any(absent in sys.modules for absent in missing):
        return
    sys.modules.update(missing)  # type: ignore[arg-type]
    try:
        importlib.import_module(name)
    finally:
        for absent in missing:
            del sys.modules[absent]


_import_without({"invoke": None}, "paramiko.config")
_no_mock = ModuleType("unittest.mock")
_no_mock.Mock, _no_mock.patch = type("Mock", (), {}), None  # type: ignore[attr-defined]
os.environ.setdefault("TYPEGUARD_DISABLE_PLUGIN_AUTOLOAD", "1")
_import_without({"unittest.mock": _no_mock}, "typeguard")
_import_without(
    {
        "jinja2": _later("jinja2", "Environment", "FileSystemLoader", "StrictUndefined", "Template"),
        "packaging": ModuleType("packaging"),
        "packaging.markers": _later("packaging.markers", "Marker"),
        "packaging.requirements": _later("packaging.requirements", "Requirement"),
        "packaging.specifiers": _later("packaging.specifiers", "SpecifierSet"),
        "packaging.version": _later("packaging.version", "Version"),
    },
    "pyinfra",
)
