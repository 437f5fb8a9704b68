"""What a running HAProxy says of its servers, as it writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard_host import haproxy

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
    assert found == {
        "config": "v1",
        "servers": {"alias-a/g1": "DOWN", "alias-a/g2": "UP"},
        "weights": {"alias-a/g1": 12, "alias-a/g2": 100},
        "answers": {"alias-a/g1": [7, 3], "alias-a/g2": [9, 0]},
    }
