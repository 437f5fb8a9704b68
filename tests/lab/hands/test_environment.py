"""What is declared as an engine's environment is what a process of a real unit has, letter for letter."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from support.hands_site import HandsSite
from support.written_values import WRITTEN

from steelyard.api.template import render
from steelyard.api.unit_text import environment_value
from steelyard.roles import vllm

SHOW = "import json, os; print(json.dumps({key: os.environ[key] for key in os.environ if key.startswith('V_')}))"


def test_values_arrive_in_a_real_unit(hands: HandsSite) -> None:
    declared = {f"V_{number}": value for number, value in enumerate(WRITTEN)}
    template = Path(vllm.__file__).parent / "templates/service.env.j2"
    given = {key: environment_value(value) for key, value in declared.items()}
    text = render(template, environment=given, engine="/opt/x", stamp="0", turns={})
    packed = base64.b64encode(text.encode()).decode()
    path = "/run/steelyard-test.env"
    for start in range(0, len(packed), 60_000):  # a shell takes no longer word
        hands.sh("gpu-1", f"echo {packed[start : start + 60_000]} >> {path}.b64")
    run = f'systemd-run --quiet --wait --pipe -p EnvironmentFile={path} /usr/bin/python3 -I -c "{SHOW}"'
    answer = hands.sh("gpu-1", f"base64 -di {path}.b64 > {path} && {run}; rm -f {path} {path}.b64")
    assert json.loads(answer) == declared
