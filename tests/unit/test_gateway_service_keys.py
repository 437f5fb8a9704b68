"""The keys that a gateway shows, by a real HAProxy: of each alias its own, in requests and in checks."""

from __future__ import annotations

from pathlib import Path

from support.gateway_here import Gateway, SimulatedEngine


def test_services_are_shown_the_key_of_their_alias_and_no_other(tmp_path: Path) -> None:
    SimulatedEngine.shown.clear()
    gateway = Gateway(tmp_path)
    try:
        for alias in ("tiny", "alone", "pair"):
            gateway.until(lambda alias=alias: gateway.asked(alias, source="127.0.0.9") == 200)
        checked = {alias for alias, _ in SimulatedEngine.shown}
        assert gateway.asked("tiny", Authorization="Bearer sk-one") == 200
    finally:
        gateway.close()
    assert checked == {"tiny", "alone", "pair"}
    assert SimulatedEngine.shown == {(alias, f"Bearer key-of-{alias}") for alias in checked}
