"""The faults, one function each: what is done, and what the rollout said to it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.fault_rows import PYZ, SERVICE, Fault, Ground, pause_of
from support.lab_site import first_process, on_host, steelyard

EXPECTED: dict[str, tuple[Fault, set[int], set[str]]] = {}  # fault -> function, exit codes, versions that may serve


def fault(name: str, exits: set[int], serves: set[str]):  # type: ignore[no-untyped-def]
    def note(work: Fault) -> Fault:
        EXPECTED[name] = (work, exits, serves)
        return work

    return note


@fault("none", {0}, {"next"})
def nothing(ground: Ground, strategy: str) -> tuple[int, int]:
    return ground.roll("next", "--strategy", strategy).returncode, 0


@fault("source unreachable", {1, 3}, {"v1"})
def source_unreachable(ground: Ground, strategy: str) -> tuple[int, int]:
    ground.declare("v3", Path("/nonexistent/v3"))
    return ground.roll("v3", "--strategy", strategy).returncode, 0


@fault("weights are no safetensors", {1, 3}, {"v1"})
def hostile_source(ground: Ground, strategy: str) -> tuple[int, int]:
    folder = ground.sources / "broken"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ground.sources / "next", folder)
    shard = folder / "model-00001-of-00002.safetensors"
    shard.write_bytes(b"\xff" * 8 + shard.read_bytes()[8:])
    ground.declare("v4", folder)
    return ground.roll("v4", "--strategy", strategy).returncode, 0


@fault("no space on the host", {1, 3}, {"v1"})
def disk_full(ground: Ground, strategy: str) -> tuple[int, int]:
    folder = ground.sources / "v6"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ground.sources / "next", folder)
    shard = folder / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4096] + bytes(4096))
    ground.declare("v6", folder)
    staging = "/models/.steelyard/staging"
    on_host(ground.site, ground.host, f"mkdir -p {staging} && mount -t tmpfs -o size=64k tmpfs {staging}")
    try:
        return ground.roll("v6", "--strategy", strategy).returncode, 0
    finally:
        on_host(ground.site, ground.host, f"umount {staging}")


@fault("weights do not fit the engine", {5}, {"v1"})
def wrong_shape(ground: Ground, strategy: str) -> tuple[int, int]:
    """A configuration that asks for more layers than there are weights: the engine cannot start with it."""
    folder = ground.sources / "v7"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ground.sources / "next", folder)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    ground.declare("v7", folder)
    return ground.roll("v7", "--strategy", strategy).returncode, 0


@fault("quality gate fails", {5}, {"v1"})
def quality(ground: Ground, strategy: str) -> tuple[int, int]:
    prompts = ground.inventory.parent / "never.jsonl"
    prompts.write_text('{"prompt": "hello", "expect": "^no answer is this$", "max_tokens": 4}\n')
    return ground.roll("next", "--strategy", strategy, "--prompts", str(prompts)).returncode, 0


@fault("controller killed while it switches", {-9}, {"v1"})
def controller_killed(ground: Ground, strategy: str) -> tuple[int, int]:
    return killed_when(ground, strategy, ("trying",)), 0


@fault("controller killed before it confirms", {-9}, {"v1", "next"})
def controller_killed_late(ground: Ground, strategy: str) -> tuple[int, int]:
    # it looks at the version for a while before it confirms, so that the kill is not too late on a slow machine
    return killed_when(ground, strategy, ("serving",), "--watch", "10"), 0


@fault("controller killed, then resumed", {0}, {"next"})
def resumed(ground: Ground, strategy: str) -> tuple[int, int]:
    killed_when(ground, strategy, ("trying", "serving", "confirmed"), undo=240)
    done = steelyard("rollout", "tiny", "-i", str(ground.inventory), "--yes", "--resume")
    # the kill may have come after the last word of the journal
    return (0 if "came to its end" in done.stderr else done.returncode), 0


def killed_when(ground: Ground, strategy: str, states: tuple[str, ...], *more: str, undo: int = 10) -> int:
    """SIGKILL as soon as the host says one of these states; it then decides alone."""
    run = ground.begun(strategy, "--undo-after", str(undo), *more, states=states)
    run.send_signal(signal.SIGKILL)
    run.wait()
    return run.returncode


@fault("controller's link cut while it switches", {0, 3, 5}, {"v1", "next"})
def link_cut(ground: Ground, strategy: str) -> tuple[int, int]:
    """SSH to the host is dropped for 15 s; clients' way to it is not."""
    run = ground.begun(strategy, "--undo-after", "60")
    in_its_network(ground, "-A")
    time.sleep(15)
    in_its_network(ground, "-D")
    return run.wait(900), 0


def in_its_network(ground: Ground, verb: str) -> None:
    """The host's own firewall, by this machine's program."""
    inside = ["nsenter", "-t", first_process(ground.site, ground.host), "-n"]
    mine = [
        subprocess.run([*where, "readlink", "/proc/self/ns/net"], capture_output=True).stdout for where in ([], inside)
    ]
    assert mine[0] != mine[1], "this would cut the machine's own link"
    subprocess.run([*inside, "iptables", verb, "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP"], check=True)


@fault("engine dies before it is ready", {5}, {"v1"})
def dies_at_start(ground: Ground, strategy: str) -> tuple[int, int]:
    """Killed in its start with the next one: the switch is undone, and v1 starts."""
    unit = f"{SERVICE}--surge" if strategy == "surge" else SERVICE
    run = ground.started("next", "--strategy", strategy)
    asked = f"systemctl show {unit} -p SubState --value"
    while run.poll() is None and on_host(ground.site, ground.host, asked).strip() != "start-post":
        time.sleep(0.1)
    on_host(ground.site, ground.host, f"systemctl kill -s KILL {unit}")
    return run.wait(400), 0


@fault("gateway reloads meanwhile", {0}, {"next"})
def gateway_reloads(ground: Ground, strategy: str) -> tuple[int, int]:
    run = ground.started("next", "--strategy", strategy)
    for _ in range(5):
        ground.site.sh("gw-1", "systemctl reload haproxy")
        time.sleep(0.7)
    return run.wait(900), 0


@fault("two operators at once", {0}, {"next"})
def two_operators(ground: Ground, strategy: str) -> tuple[int, int]:
    """The second is refused with the first one's name, or finds nothing left to do; never are there two."""
    first, second = ground.started("next", "--strategy", strategy), ground.started("next", "--strategy", strategy)
    codes = sorted([first.wait(900), second.wait(900)])
    assert codes in ([0, 0], [0, 3]), codes
    return codes[0], 0


@fault("engine dies after it was switched", {0, 3, 5}, {"v1", "next"})
def dies_after(ground: Ground, strategy: str) -> tuple[int, int]:
    """Killed on trial, before it is confirmed: it comes back with a version, and only what was in flight on it is
    lost.
    """
    code = ground.roll("next", "--strategy", strategy).returncode
    running = on_host(
        ground.site, ground.host, f"{PYZ} status | grep -o 'num_requests_running\": [0-9.]*' | grep -o '[0-9.]*$'"
    )
    on_host(ground.site, ground.host, f"systemctl kill -s KILL {SERVICE}")
    on_host(
        ground.site,
        ground.host,
        f"for n in $(seq 600); do systemctl is-active -q {SERVICE} && exit 0; sleep 0.2; done; exit 1",
    )
    time.sleep(2)
    return code, max(3, int(float(running.split()[0]))) if running.split() else 3


@fault("host reboots while it switches", {0, 3, 5}, {"v1", "next"})
def reboots(ground: Ground, strategy: str) -> tuple[int, int]:
    """It comes back with the version it was committed to; what was in flight on it dies with it."""
    run = ground.begun(strategy, "--undo-after", "30")
    # from a process of its own: the one that says it would be killed with the host
    on_host(
        ground.site,
        ground.host,
        "setsid sh -c 'sleep 0.1; systemctl reboot --force --force' >/dev/null 2>&1 </dev/null &",
    )
    code = run.wait(400)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            on_host(ground.site, ground.host, f"systemctl is-active -q {SERVICE}")
            break
        except (AssertionError, IndexError):
            time.sleep(1)
    time.sleep(2)
    return code, 3


def dropping(ground: Ground, strategy: str, until: str) -> tuple[int, int]:
    """The host's SSH is dropped once its switch is in a state, for 15 s."""
    run = ground.begun(strategy, "--undo-after", "60", "--watch", "5", states=(until,))
    in_its_network(ground, "-A")
    time.sleep(15)
    in_its_network(ground, "-D")
    return run.wait(900), 0


@fault("host unreachable before it is begun", {3}, {"v1"})
def unreachable_before(ground: Ground, strategy: str) -> tuple[int, int]:
    in_its_network(ground, "-A")
    try:
        return ground.roll("next", "--strategy", strategy).returncode, 0
    finally:
        in_its_network(ground, "-D")


@fault("host unreachable before it is confirmed", {0, 3, 5}, {"v1", "next"})
def unreachable_after(ground: Ground, strategy: str) -> tuple[int, int]:
    return dropping(ground, strategy, "serving")


@fault("latency gate fails", {5}, {"v1"})
def slow(ground: Ground, strategy: str) -> tuple[int, int]:
    """Engines are halted most of the time from when the version is on trial until it is undone, so that they are also
    drained in such a
    halt: requests are accepted then, and not counted yet. Without that it passes, as the row after this shows.
    """
    run = ground.begun(strategy, "--watch", "12", states=("serving",))
    assert run.poll() is None, "it ended before it was watched"
    halted_s = 3 * pause_of(strategy)  # clients that pause as long would ask in step with it, and wait for nothing
    halting = (
        f"for p in $those; do kill -STOP $p; done; sleep {halted_s}; for p in $those; do kill -CONT $p; done; "
        f"sleep 0.03"
    )
    script = f"those=$(pgrep VLLM); while :; do {halting}; done 2>/dev/null"
    on_host(ground.site, ground.host, f"systemd-run --quiet --unit=slower sh -c '{script}'")
    try:
        return run.wait(900), 0
    finally:
        on_host(ground.site, ground.host, "systemctl stop slower; for p in $(pgrep VLLM); do kill -CONT $p; done; true")


@fault("gates pass under load", {0}, {"next"})
def watched(ground: Ground, strategy: str) -> tuple[int, int]:
    return ground.roll("next", "--strategy", strategy, "--watch", "8", "--slower", "4").returncode, 0


@fault("gateway refuses a reload meanwhile", {0}, {"next"})
def gateway_refuses(ground: Ground, strategy: str) -> tuple[int, int]:
    """Somebody writes a configuration that HAProxy does not take: the running one goes on."""
    run = ground.started("next", "--strategy", strategy)
    config = "/etc/haproxy/haproxy.cfg"
    ground.site.sh(
        "gw-1", f"cp -p {config} /root/kept && echo nonsense >> {config} && systemctl reload haproxy", check=False
    )
    code = run.wait(900)
    ground.site.sh("gw-1", f"cp -p /root/kept {config} && rm /root/kept && systemctl reload haproxy")
    return code, 0


@fault("engine exits 0 in its start", {5}, {"v1"})
def exits_well(ground: Ground, strategy: str) -> tuple[int, int]:
    """Its wrapper ends well at once, as long as it is the next version's: nothing listens, and nothing says an
    error.
    """
    wrapper = "/usr/lib/steelyard/engine-exec"
    on_host(ground.site, ground.host, f"cp -p {wrapper} /root/kept && sed -i '2i exit 0' {wrapper}")
    run = ground.begun(strategy, states=("undoing", "undone"))  # where a second engine failed, nothing is to be undone
    on_host(ground.site, ground.host, f"cp -p /root/kept {wrapper} && rm /root/kept")
    return run.wait(900), 0


@fault("engine that sleeps dies", {5}, {"v1"})
def sleeper_dies(ground: Ground, strategy: str) -> tuple[int, int]:
    """The one to go back to is lost, and then the gate refuses the new one: it is started anew, while the gateway holds
    requests.
    """
    prompts = ground.inventory.parent / "never.jsonl"
    prompts.write_text('{"prompt": "hello", "expect": "^no answer is this$", "max_tokens": 4}\n')
    run = ground.begun(strategy, "--prompts", str(prompts))
    scope = "steelyard-asleep-tiny.scope"
    on_host(ground.site, ground.host, f"until systemctl kill -s KILL {scope} 2>/dev/null; do sleep 0.1; done")
    return run.wait(900), 0


@contextmanager
def ready_within(ground: Ground, seconds: int) -> Iterator[None]:
    """How long a start may take, while the block runs."""
    roles = ground.inventory / "group_vars/all/roles.yml"
    text = roles.read_text()
    roles.write_text(text.replace("vllm:\n", f"vllm:\n  ready_s: {seconds}\n", 1))
    try:
        yield
    finally:
        roles.write_text(text)


@fault("engine hangs in its start", {5}, {"v1"})
def hangs_in_start(ground: Ground, strategy: str) -> tuple[int, int]:
    """Its core is stopped: the server answers, tokens never come; the host gives up after `ready_s`."""
    unit = f"{SERVICE}--surge" if strategy == "surge" else SERVICE
    asked = f"systemctl show {unit} -p SubState,ActiveState --value"
    with ready_within(ground, 60):
        run = ground.started("next", "--strategy", strategy)
        while run.poll() is None and "start-post" not in on_host(ground.site, ground.host, asked):
            time.sleep(0.05)
        on_host(ground.site, ground.host, f"sleep 3; systemctl kill --kill-who=all -s STOP {unit}")
        return run.wait(900), 0


@fault("host's part of it is killed", {0, 5}, {"v1", "next"})
def trial_killed(ground: Ground, strategy: str) -> tuple[int, int]:
    """The unit that carries the switch out, a second after it was begun: systemd takes the trial back at once and
    waits for no timer, which is half an hour away. A reload is over by then.
    """
    run = ground.begun(strategy, "--undo-after", "1800", states=("trying",))
    on_host(ground.site, ground.host, "sleep 1; systemctl kill -s KILL steelyard-switch-tiny || true")
    ended = run.wait(900)
    assert ended == 0 or "killed on its way" in ground.state()["switch"]["why"], "another than systemd undid it"
    return ended, 0
