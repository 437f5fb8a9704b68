"""The accounts of services: one for each, the same for its second engine, and gone with it."""

from __future__ import annotations

import pwd
import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from steelyard.modules.operations.removal import forgotten_commands
from steelyard_host import paths
from steelyard_host.engine import service as engines
from steelyard_host.engine import trial_record
from steelyard_host.engine.load_bench import LoadProbe
from steelyard_host.engine.service import HostService, account_of
from steelyard_host.rollout import surge
from steelyard_host.supervise import remains
from steelyard_host.wire.remains import LeftService

UNIT = Path(__file__).parent.parent.parent / "roles/vllm/templates/engine@.service.j2"
NAMES = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True).filter(lambda name: len(name) < 74)
ROLES = {"steelyard-engine", "steelyard-front"}


def entry(name: str, home: str) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", 900, 900, "", home, "/usr/sbin/nologin"))


@given(st.lists(NAMES, min_size=2, max_size=8, unique=True), st.text(alphabet="ab", min_size=21, max_size=21))
def test_each_service_has_an_account_of_its_own(names: list[str], beginning: str) -> None:
    """Also where names begin alike and are longer than an account's may be."""
    names += [f"{beginning}-{number}" for number in range(4)]
    accounts = [account_of(name) for name in names]
    assert len({*accounts, *ROLES}) == len(set(names)) + 2
    assert all(re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", account) for account in accounts)
    assert [account_of(name) for name in names] == accounts


def test_names_of_every_length_end_within_what_linux_takes() -> None:
    lengths = {len(account_of("a" * length)) for length in range(1, 74)}
    assert (min(lengths), max(lengths)) == (11, 31)
    assert account_of("a" * 21) == "steelyard_" + "a" * 21
    assert account_of("a" * 22) == "steelyard_aaaaaaaaaaaa_" + account_of("a" * 22)[-8:]


def test_the_second_engine_runs_as_the_account_of_the_first_and_lets_the_proxy_in() -> None:
    chat = HostService("chat", {})
    assert chat.second.account == chat.account == "steelyard_chat"
    own = "[Service]\nUser=steelyard_chat\nGroup=steelyard_chat\n"
    texts = surge.UnitTexts(UNIT.read_text(), own, "")
    lines = surge.drop_in(chat, texts, "/models/chat/v2", [], 60).splitlines()
    assert lines[:3] == ["[Service]", "User=steelyard_chat", "Group=steelyard_chat"]
    [pre] = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStartPre=")]
    assert lines[lines.index("ExecStartPre=") + 1] == pre
    assert "a+ /run/steelyard/%i " in pre
    older = surge.drop_in(chat, texts._replace(account=""), "/models/chat/v2", [], 60)
    assert "User=" not in older, "as the unit of a release before has it"


def test_a_version_on_trial_lets_the_proxy_in_too() -> None:
    """Its drop-in empties the list of what is done before a start."""
    [pre] = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStartPre=")]
    version = "[Service]\nBindReadOnlyPaths=/models/chat/v1:/x\nExecStartPre=-+/usr/bin/warm /models/chat/v1\n"
    lines = trial_record.text_of(UNIT.read_text(), version, "/models/chat/v1", "/models/chat/v2").splitlines()
    own = [line for line in lines if line.startswith("ExecStartPre=")]
    assert own == ["ExecStartPre=", pre, "ExecStartPre=-+/usr/bin/warm /models/chat/v2"]


def test_accounts_are_found_by_their_homes_and_nobody_elses_is(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "a" * 40
    here = [
        entry("root", "/root"),
        entry("steelyard-engine", paths.CACHES),
        entry("steelyard_chat", paths.cache_of("chat")),
        entry("steelyard_ada", "/home/ada"),
        entry("steelyard_x", paths.cache_of("y")),
        entry(account_of(long), paths.cache_of(long)),
    ]
    monkeypatch.setattr(engines.pwd, "getpwall", lambda: here)
    assert engines.services_with_accounts() == {"chat": "steelyard_chat", long: account_of(long)}


def test_an_account_that_is_left_is_told_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "services_with_accounts", lambda: {"old": "steelyard_old", "chat": "steelyard_chat"})
    left = {service.name: service for service in remains.read(["steelyard-vllm@chat.service"]).services}
    assert "chat" not in left
    assert (left["old"].account, left["old"].is_set_up) == ("steelyard_old", True)
    [command] = forgotten_commands((LeftService("old", account="steelyard_old"),))
    text = command.get_raw_value()
    # a number that is given again must own nothing that is left
    assert text.index("chown --recursive --no-dereference --silent root:root /var/cache/steelyard/old") < text.index(
        "userdel steelyard_old"
    )


def test_a_service_that_moves_to_another_engine_keeps_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "services_with_accounts", lambda: {"chat": "steelyard_chat"})
    monkeypatch.setattr(remains, "_units", lambda: {"chat": ("steelyard-vllm@chat.service",)})
    services = remains.read(["steelyard-llamacpp@chat.service"]).services
    [left] = [service for service in services if service.name == "chat"]
    assert (left.replaced, left.account) == (True, "")


def test_a_probe_is_the_services_own_account_where_the_host_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = LoadProbe("chat", "/opt/steelyard/engines/vllm-1", "/models/chat/v1", 1, "steelyard-engine")
    assert "User=steelyard-engine" in probe.command()
    monkeypatch.setattr(engines.pwd, "getpwnam", lambda name: entry(name, paths.cache_of("chat")))
    assert "User=steelyard_chat" in probe.command()
