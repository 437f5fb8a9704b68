"""The look-up of addresses that ansible-core probes while it is imported, as Python has it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_getaddrinfo() -> Iterator[None]:
    """Have Python's own `socket.getaddrinfo` while ansible-core is imported: it is probed with a wrong type, and
    gevent's prints a traceback for that.
    """
    ours = socket.getaddrinfo
    if "gevent" in sys.modules:
        from gevent.monkey import get_original

        socket.getaddrinfo = get_original("socket", "getaddrinfo")
    try:
        yield
    finally:
        socket.getaddrinfo = ours
