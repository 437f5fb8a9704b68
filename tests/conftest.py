"""Helpers that several folders of tests share are in tests/support; their asserts are to explain themselves as well."""

import os
import signal

import pytest
from gevent.monkey import get_original
from hypothesis import HealthCheck, settings

# `make test` has one half in the background of a shell, where Ctrl-C is ignored, and may itself run under `nohup`: what
# tests start would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest.register_assert_rewrite("support")

# how long an example takes says how busy this machine is, and nothing of what is tested
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture
def closes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the helper's process: where gevent is at work, os.close leaves a folder open until its loop has a turn."""
    monkeypatch.setattr(os, "close", get_original("os", "close"))
