"""What a running HAProxy says of its servers, as it writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard_host.proxy import haproxy
from steelyard_host.wire.codec import to_json

STAT = '''\
# pxname,svname,scur,status,weight,hrsp_2xx,hrsp_5xx,eresp,last_chk,check_desc,uweight,
alias-a,g1,0,DOWN,100,7,1,2,"Layer7 invalid response, info: ""no token, none""",Layer7 wrong status,12,
alias-a,g2,1,UP,100,9,0,0,,Layer7 check passed,100,

'''


def test_columns_stay_in_place_where_a_check_said_something_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        haproxy, "ask", lambda path, command: STAT if command.startswith("show stat") else "STEELYARD_CONFIG=v1\n"
    )
    found = haproxy.state(str(Path("/run/admin.sock")))
    assert to_json(found) == {
        "config": "v1",
        "servers": {"alias-a/g1": "DOWN", "alias-a/g2": "UP"},
        "weights": {"alias-a/g1": 12, "alias-a/g2": 100},
        "answers": {"alias-a/g1": [7, 3], "alias-a/g2": [9, 0]},
        "running": {"alias-a/g1": 0, "alias-a/g2": 1},
    }


CONFIG = """
global
    server-state-file /run/haproxy/servers.state
backend alias-pair
    server gpu-1 10.0.0.1:8010 weight 100
    server gpu-2 10.0.0.2:{port} weight 100
    server gpu-2-late 10.0.0.2:{port} backup no-check
"""
STATES = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health \
srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id \
srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 alias-pair 1 gpu-1 10.0.0.1 2 0 20 100 9 15 3 4 6 0 0 0 - 8010 - 0 0 - - 0
3 alias-pair 2 gpu-2 10.0.0.2 0 0 100 100 9 15 2 0 6 0 0 0 - 8010 - 0 0 - - 0
3 alias-pair 3 gpu-2-late 10.0.0.2 2 0 1 1 9 1 0 1 0 0 0 0 - 8010 - 0 0 - - 0

"""


@pytest.mark.parametrize(("port", "kept"), [(8010, ["gpu-1", "gpu-2", "gpu-2-late"]), (8020, ["gpu-1"])])
def test_a_server_whose_port_is_declared_anew_is_not_handed_to_the_next_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int, kept: list[str]
) -> None:
    """HAProxy 2.6 and 3.0 take the port of the state file, and the address of the configuration."""
    monkeypatch.setattr(haproxy, "ask", lambda path, command: STATES)
    config, file = tmp_path / "haproxy.cfg", tmp_path / "servers.state"
    config.write_text(CONFIG.format(port=port))
    assert haproxy.save("admin.sock", str(file), str(config)) == 0
    lines = file.read_text().splitlines(keepends=True)
    assert "".join(lines[:2]) == "".join(STATES.splitlines(keepends=True)[:2])
    assert [line.split()[3] for line in lines[2:] if line.strip()] == kept


HOLDING = """
global
    setenv STEELYARD_CONFIG "abc"
defaults
    retries 480
backend alias-pair
    option allbackups
"""


class Reloading:
    """An HAProxy that serves with what lay on disk at its last reload."""

    def __init__(self, config: Path) -> None:
        self.config, self.loaded = config, config.read_text()

    def ask(self, path: str, command: str) -> str:
        if command.startswith("show stat"):
            return STAT
        return "STEELYARD_CONFIG=" + self.loaded.split('STEELYARD_CONFIG "')[1].split('"')[0] + "\n"

    def systemctl(self, verb: str, unit: str) -> bool:
        assert (verb, unit) == ("reload", "haproxy.service")
        self.loaded = self.config.read_text()
        return True


def test_requests_are_held_longer_until_the_next_reload_and_the_file_stays_as_declared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(HOLDING)
    running = Reloading(config)
    monkeypatch.setattr(haproxy, "ask", running.ask)
    monkeypatch.setattr(haproxy.systemd, "systemctl", running.systemctl)
    for seconds in (900, 1800):  # the second run raises what the first one left
        assert haproxy.hold("/run/s", config, seconds) == 0
        assert f"    retries {seconds * 4}\n" in running.loaded
        assert haproxy.state("/run/s").config == f"abc-hold-{seconds}", "drift sees it"
        assert config.read_text() == HOLDING
    for _ in range(2):
        assert haproxy.hold("/run/s", config, 0) == 0
        assert running.loaded == HOLDING


def test_a_gateway_that_holds_nothing_says_so_and_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(HOLDING.replace("    option allbackups\n", ""))
    running = Reloading(config)
    monkeypatch.setattr(haproxy, "ask", running.ask)
    assert haproxy.hold("/run/s", config, 900) == 1
    assert capsys.readouterr().err == "it holds no requests: `gateway.hold_s` is 0\n"
    assert "480" in running.loaded
