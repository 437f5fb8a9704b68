"""A host that is a folder, on which a helper of any release answers: this one's, or that of an older commit.

Run as a program it prints the answers to every case as one JSON object: `python helper_world.py SOURCES FOLDER`, where
SOURCES holds a `steelyard_host` package. Standard library only, and Python 3.9, like the helper.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# what a helper takes for the host's: its name in 5e44696 and today's, and the folder here
PLACES = (
    ("engines.SERVICES", "engine.service.SERVICES", "services"),
    ("engines.UNITS", "engine.service.UNITS", "units"),
    ("trial.TRIALS", "engine.service.TRIAL_UNITS", "trials"),
    ("trial.RECORDS", "engine.trial_record.TURNS", "turns"),  # that of 5e44696 has none: the next line is its own
    ("trial.RECORDS", "engine.trial_record.RECORDS", "switches"),
    ("starts.RECORDS", "engine.start_log.RECORDS", "starts"),
    ("kills.RECORDS", "engine.kill_log.RECORDS", "kills"),
    ("ready.KEYS", "engine.probe.KEYS", "keys"),
    ("front.MARKS", "proxy.front.MARKS", "marks"),
    ("front.ROUTES", "proxy.front.ROUTES", "routes"),
    ("asleep.KEPT", "rollout.sleep_swap.RECORDS", "asleep"),
    ("surge.CONFIGS", "rollout.surge.CONFIGS", "surge"),
)
# what it would ask engines, kernel and GPUs
ANSWERS: tuple[tuple[str, str, Any], ...] = (
    ("ready.one_token", "engine.probe.one_token", lambda path, service, seconds=60: (service != "mute", "ready")),
    ("gpu.nvml", "hardware.gpu.nvml", lambda asleep, brief=False: {"error": None, "devices": []}),
    ("gpu.memory", "hardware.gpu.memory", lambda: {"devices": []}),
    ("gpu.held", "hardware.gpu.held", lambda *folder: {}),
    ("surge._available", "rollout.surge._available", lambda: 2**34),
    ("front.drained", "proxy.front.drained", lambda engine, seconds: 0.25),
    ("control.reload_weights", "engine.control_api.reload_weights", lambda service: None),
    ("status.metrics", "engine.metrics.read", lambda service, names: dict.fromkeys(names, 2.0)),
    ("haproxy.ask", "proxy.haproxy.ask", lambda path, command: _proxy(path, command)),
    ("switch._arm", "system.dead_man_timer.start", lambda service, seconds: None),
    ("switch._disarm", "system.dead_man_timer.stop", lambda service: None),
)
SYSTEMCTL = """#!/bin/sh
case "$*" in
*steelyard-switch-*) exit 3 ;;
show*lazy*) printf 'ActiveState=inactive\\nSubState=dead\\nResult=success\\nMainPID=0\\nNRestarts=0\\n' ;;
show*) printf 'ActiveState=active\\nSubState=running\\nResult=success\\nMainPID=1\\nNRestarts=0\\n'
       printf 'ActiveEnterTimestamp=Sun 2026-11-29 07:09:36 UTC\\nTimeoutStopUSec=2min 5s\\n' ;;
esac
"""
STAT = """# pxname,svname,scur,status,hrsp_2xx,hrsp_5xx,eresp,uweight,
alias-a,g1,0,DOWN,7,1,2,12,
alias-a,g2,1,UP,9,0,0,100,
"""
CAUSE = {"code": "block-size", "sentence": "block size 17", "fix": "take it out", "process": "Worker"}


def _proxy(path: str, command: str) -> str:
    if path == "dead":
        raise ConnectionRefusedError(111, "Connection refused")
    return STAT if command.startswith("show stat") else "STEELYARD_CONFIG=v1\n"


def request(root: Path, run: str, strategy: str) -> dict[str, Any]:
    """What a controller of any release sends to `switch-try`."""
    return {
        "run": run,
        "service": "tiny",
        "folder": str(root / "models/llm/tiny/v2"),
        "strategy": strategy,
        "prompts": [],
        "ready_s": 900,
        "drain_s": 60,
        "undo_s": 300,
    }


def build(root: Path) -> None:
    """The folders and files of a host with the services `tiny`, which runs, and `lazy`, which rests."""
    for folder in ("services", "trials", "keys", "bin", "kills", "starts", "models/llm/tiny/v1", "models/llm/tiny/v2"):
        (root / folder).mkdir(parents=True)
    for name, load in (("tiny", "preload"), ("lazy", "lazy")):
        (root / "services" / (name + ".env")).write_text(
            f"STEELYARD_ENGINE=/opt/steelyard/engines/vllm-0.32.0\nSTEELYARD_LOAD={load}\n"
        )
        (root / "services" / (name + ".yaml")).write_text(f"model: /run/steelyard/{name}/model\n")
        drop_ins = root / "units" / f"steelyard-vllm@{name}.service.d"
        drop_ins.mkdir(parents=True)
        version = root / "models/llm/tiny/v1"
        (drop_ins / "50-version.conf").write_text(
            f"[Service]\nBindReadOnlyPaths={version}:/run/steelyard/{name}/model\n"
        )
    (root / "units/steelyard-vllm@.service").write_text("[Service]\nExecStart=/engine\n")
    (root / "kills/tiny.json").write_text(json.dumps([{"at": 1795546747.5, "why": "no token for 180 s"}]))
    start = {"began": 1795546747.272, "seconds": 82.5, "said": {"cache_tokens": 1048576.0}}
    phases = [{"phase": "weights", "seconds": 40.5}, {"phase": "first_token", "seconds": 42.0}]
    beside = {"phases": phases, "version": "/models/llm/tiny/v1", "engine": "vllm-0.32.0"}
    (root / "starts/tiny.json").write_text(json.dumps([{**start, **beside}]))
    for name, text in (("systemctl", SYSTEMCTL), ("systemd-run", "#!/bin/sh\n"), ("journalctl", "#!/bin/sh\n")):
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)


def module(name: str) -> Any:
    return import_module("steelyard_host." + name)


def is_old() -> bool:
    """Whether the helper that is importable is that of 5e44696, whose modules lay in one folder."""
    try:
        module("engines")
    except ImportError:
        return False
    return True


def settle_in(root: Path) -> bool:
    """The helper that is importable takes `root` for its host; whether it is that of 5e44696."""
    old = is_old()
    for number, (before, today, value) in enumerate((*PLACES, *ANSWERS)):
        where, attribute = (before if old else today).rsplit(".", 1)
        assert hasattr(module(where), attribute), f"{where}.{attribute}"
        setattr(module(where), attribute, root / value if number < len(PLACES) else value)
    os.environ["PATH"] = f"{root / 'bin'}:{os.environ['PATH']}"
    return old


def call(*argv: str, stdin: str = "") -> Any:
    """The answer to one command line: its JSON, or its exit status and what it said where that is no JSON."""
    output, errors = io.StringIO(), io.StringIO()
    sys.argv, sys.stdin = ["steelyard-host", *argv], io.StringIO(stdin)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = module("__main__").main()
    try:
        return json.loads(output.getvalue())
    except ValueError:
        return {"exit": status, "said": (output.getvalue() + errors.getvalue()).strip()}


def commands(old: bool) -> list[str]:
    """The words that the helper's command line knows."""
    parser = module("__main__" if old else "commands.parser").commands()
    return sorted(next(action.choices for action in parser._actions if action.dest == "command"))


def carry_out(old: bool, name: str) -> None:
    """The trial itself, which systemd would run in a unit of its own."""
    service = name if old else module("engine.service").HostService.load(name)
    module("switch" if old else "rollout.switch").carry_out(service)


def trial(root: Path, old: bool, run: str, strategy: str) -> Any:
    """The answer to `switch-try`, whose unit comes to its end at once."""
    where = module("handover" if old else "system.systemd")
    real = where.run
    where.run = lambda *argv: carry_out(old, "tiny") if "switch-carry-out" in argv else None
    try:
        return call("switch-try", stdin=json.dumps(request(root, run, strategy)))
    finally:
        where.run = real


def answers(root: Path, old: bool) -> dict[str, Any]:
    """Every case, in the order in which it happens on one host."""
    models = (str(root / "models"), "llm/tiny", "tiny")
    seen = {
        "commands": commands(old),
        "status": call("status"),
        "services": call("services"),
        "token": call("token", "/run/x.sock", "tiny"),
        "token-mute": call("token", "/run/x.sock", "mute"),
        "service-counters": call("service-counters", "tiny"),
        "haproxy": call("haproxy", "alive"),
        "haproxy-dead": call("haproxy", "dead"),
        "switch-undo-none": call("switch-undo", "tiny"),
        "switch-state": call("switch-state", *models),
        "switch-confirm-none": call("switch-confirm", *models, "r1"),
        "switch-try": trial(root, old, "r1", "reload"),
        "switch-try-other": trial(root, old, "r2", "reload"),
        "status-serving": call("status"),
        "switch-state-serving": call("switch-state", *models),
        "switch-undo": call("switch-undo", "tiny", "--run", "r1", "--why", "the gate"),
        "switch-confirm-undone": call("switch-confirm", *models, "r1"),
        "switch-state-undone": call("switch-state", *models),
    }
    record = json.loads((root / "switches/tiny.json").read_text())
    for state in ("trying", "serving", "undoing", "confirmed"):
        (root / "switches/tiny.json").write_text(json.dumps({**record, "state": state, "cause": CAUSE}))
        seen["switch-state-" + state] = call("switch-state", *models)
    (root / "switches/tiny.json").write_text(json.dumps({**record, "state": "serving", "boot": "another"}))
    seen["switch-state-rebooted"] = call("switch-state", *models)
    return seen


def without_chance(root: Path, seen: Any) -> Any:
    """What differs from one run to the next is always the same: folder, boot, and measured times."""
    text = json.dumps(seen).replace(str(root), "/w")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def fixed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entry = dict(pairs)
        if "run" in entry and "boot" in entry:
            measured = {key: 0.0 for key in ("at", "gap_s", "seconds") if entry.get(key) is not None}
            entry.update(measured)
        return entry

    return json.loads(text.replace(boot, "this boot"), object_pairs_hook=fixed)


def main() -> None:
    sources, root = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path.insert(0, str(sources))
    if sys.argv[3:] == ["look"]:
        settle_in(root)
        seen = {"status": call("status"), "services": call("services")}
        seen["switch-state"] = call("switch-state", str(root / "models"), "llm/tiny", "tiny")
        seen["switch-undo"] = call("switch-undo", "tiny", "--run", "r1", "--why", "a look")
    else:
        build(root)
        seen = answers(root, settle_in(root))
    print(json.dumps(without_chance(root, seen), indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
