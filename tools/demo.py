"""The demo: from nothing to a served, registered model, drift found and repaired, a second version under load. Prints what it runs.

`--write README.md README.zh-CN.md` puts the transcript of this run between the transcript marks of those files.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from steelyard.lab.inventory_files import lab_secrets
from steelyard.lab.paths import cache_root
from steelyard.lab.record import require_lab
from steelyard.lab.tiny_model import make

sys.path.append(str(Path(__file__).parent.parent / "tests/lab/rollout"))
from load import Load

INVENTORY = "inventories/lab"
STEELYARD = str(Path(sys.executable).parent / "steelyard")
MARKS = re.compile(r"(<!-- transcript -->\n).*?(<!-- end -->)", re.S)


class Demo:
    """Runs commands, shows them with their output, and remembers both."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.began = time.monotonic()

    def say(self, text: str = "") -> None:
        print(text, flush=True)
        self.lines.append(text)

    def run(self, *words: str, expect: int = 0, keep: int = 60) -> str:
        """A steelyard command; stops the demo when it ends otherwise than expected. Long output is kept in part."""
        self.say(f"$ steelyard {shlex.join(words)}")
        output: list[str] = []
        with subprocess.Popen(
            [STEELYARD, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                print(line, end="", flush=True)
                output.append(line.rstrip())
        left_out = len(output) - keep
        self.lines += output if left_out <= 0 else [*output[: keep // 2], f"... ({left_out} more lines)", *output[-keep // 2 :]]
        if running.returncode != 0 or expect != 0:
            self.say(f"(exit {running.returncode})")
        self.say()
        if running.returncode != expect:
            sys.exit(f"demo: `steelyard {' '.join(words)}` ended with {running.returncode}, expected {expect}")
        return "\n".join(output)


def ask(address: str, port: int, key: str, alias: str) -> str:
    """One chat completion through the gateway's alias; the key goes into a header, not into a command line."""
    connection = http.client.HTTPConnection(address, port, timeout=120)
    body = {"model": alias, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 24}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    if answer.status != 200:
        sys.exit(f"demo: the gateway answered {answer.status}: {content}")
    return str(content["choices"][0]["message"]["content"])


def keep_layers(demo: Demo) -> None:
    """After the first run, keep what the roles installed; the next `lab up` starts from it."""
    for machine in require_lab("lab", "demo").machines:
        if machine.lacks_layer:
            demo.run("lab", "snapshot", machine.host.name)


def declare(version: str) -> None:
    """In the lab's models.yml, as an operator would; the tiny model is made where it is not there yet."""
    path = Path(INVENTORY) / "group_vars/all/models.yml"
    folder = make(cache_root() / "models" / "tiny" / version, int(version[1:]))
    text = re.sub(r"source: .*", f"source: file://{folder}", path.read_text(), count=1)
    path.write_text(re.sub(r"version: .*", f"version: {version}", text, count=1))


def roll_out(demo: Demo, gateway: str, key: str) -> None:
    """To a second version in place, and back by a restart, while clients ask."""
    demo.say("# version v2 is declared in models.yml; three clients, one of them streaming, ask without a pause from here on")
    declare("v2")
    with Load(gateway, 8080, key, "tiny", {}, 3) as load:
        time.sleep(3)
        demo.run("rollout", "tiny", "v2", "-i", INVENTORY, "--yes")
        time.sleep(3)
        demo.run("rollback", "tiny", "-i", INVENTORY, "--yes", "--strategy", "swap")
    declare("v1")
    counts = load.counts
    demo.say(f"# the clients: {counts.requests} requests, {counts.failed} failed; the slowest waited {counts.slowest_s:.1f} s")
    demo.say()
    if counts.failed:
        sys.exit(f"demo: requests failed: {counts.reasons}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", nargs="+", type=Path, default=[], help="files that get the transcript")
    given = parser.parse_args()
    demo = Demo()
    demo.run("lab", "up", "3")
    demo.run("apply", "-i", INVENTORY, "--yes", keep=24)
    keep_layers(demo)
    demo.run("status", "-i", INVENTORY)
    lab = require_lab("lab", "demo")
    gateway = lab.addresses()["gw-1"]
    demo.say(f"$ POST http://{gateway}:8080/v1/chat/completions  model=tiny  (a real vLLM; the tiny model has random weights)")
    demo.say(f"  {ask(gateway, 8080, lab_secrets(lab.paths)['demo_client_key'], 'tiny')!r}")
    demo.say()
    demo.run("dify", "ls", "-i", INVENTORY)
    demo.run("drift", "-i", INVENTORY, "-v")
    demo.say("# somebody changes a file by hand and stops a unit")
    demo.run("lab", "exec", "gw-1", "--", "sed", "-i", "s/maxconn 2000/maxconn 20/", "/etc/haproxy/haproxy.cfg")
    demo.run("lab", "exec", "gpu-1", "--", "systemctl", "stop", "steelyard-front.service")
    demo.run("drift", "-i", INVENTORY, expect=2)
    demo.run("apply", "-i", INVENTORY, "--yes")
    demo.run("apply", "-i", INVENTORY, "--yes")
    roll_out(demo, gateway, lab_secrets(lab.paths)["demo_client_key"])
    demo.say(f"demo: {time.monotonic() - demo.began:.0f} s. Simulated here: the GPUs and Dify. Take it away: make demo-down")
    text = "```text\n" + "\n".join(line.rstrip() for line in demo.lines) + "\n```\n"
    for path in given.write:
        path.write_text(MARKS.sub(lambda found: found[1] + text + found[2], path.read_text()))


if __name__ == "__main__":
    main()
