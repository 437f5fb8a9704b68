"""The demo: from nothing to a served, registered model, drift found and repaired, a second version under load. Prints
what it runs.

`--write` (`make transcript`) puts the transcript of this run into its page, and its rollout under load into the READMEs
(pages.BLOCKS). A step that ends otherwise than expected ends the demo with one sentence: the command, how it ended,
what to look at. Nothing is written then.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from pages import ROOT, write_block

from steelyard.lab.inventory_files import lab_secrets
from steelyard.lab.load import LoadGenerator
from steelyard.lab.nspawn.paths import cache_root
from steelyard.lab.nspawn.record import require_lab
from steelyard.lab.simulated.tiny_model import make

INVENTORY = "inventories/lab"
STEELYARD = str(Path(sys.executable).parent / "steelyard")
CLIENTS = "# the clients: "
LOOK_AT = {  # by the command that failed: what tells more
    "lab": "`.venv/bin/steelyard doctor` says what this machine lacks",
    "apply": f"`.venv/bin/steelyard status -i {INVENTORY}` shows the services, "
    "`.venv/bin/steelyard lab exec gpu-1 -- journalctl -n 100 -u 'steelyard-vllm@*'` what the engine said",
    "drift": "each finding above names its fix",
    "dify": "`.venv/bin/steelyard lab exec gw-1 -- journalctl -n 100` is the simulated Dify's journal",
}
LEFT = "the lab is left as it is; `make demo-down` takes it away"


class DemoFailed(Exception):
    """A step that did not end as expected; its text is the one sentence that ends the demo."""


def failure(words: tuple[str, ...], ended: int, expected: int) -> str:
    """Return the sentence for a command that ended otherwise than expected; `ended` as subprocess says it, negative for
    a signal.
    """
    how = f"was killed by {signal.Signals(-ended).name}" if ended < 0 else f"ended with exit {ended}"
    look = LOOK_AT.get(words[0], LOOK_AT["apply"])
    return (
        f"`steelyard {shlex.join(words)}` {how}, expected was {expected}; its own words are above, and {look}; {LEFT}"
    )


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
        self.lines += (
            output if left_out <= 0 else [*output[: keep // 2], f"... ({left_out} more lines)", *output[-keep // 2 :]]
        )
        if running.returncode != 0 or expect != 0:
            self.say(f"(exit {running.returncode})")
        self.say()
        if running.returncode != expect:
            raise DemoFailed(failure(words, running.returncode, expect))
        return "\n".join(output)


def ask(address: str, port: int, key: str, alias: str) -> str:
    """One chat completion through the gateway's alias; the key goes into a header, not into a command line. Raises
    DemoFailed.
    """
    connection = http.client.HTTPConnection(address, port, timeout=120)
    body = {"model": alias, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 24}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise DemoFailed(
            f"http://{address}:{port} gave no answer for `{alias}` ({error}); {LOOK_AT['apply']}; {LEFT}"
        ) from error
    finally:
        connection.close()
    if answer.status != 200:
        said = " ".join(content.split())[:200]
        raise DemoFailed(f"the gateway answered {answer.status} for `{alias}`: {said}; {LOOK_AT['apply']}; {LEFT}")
    return str(json.loads(content)["choices"][0]["message"]["content"])


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


def under_load(demo: Demo, gateway: str, key: str, *words: str) -> None:
    """A command while three clients ask, and what became of their requests. Raises DemoFailed where one of them
    failed.
    """
    with LoadGenerator(gateway, 8080, key, "tiny", {}, 3) as load:
        time.sleep(3)
        demo.run(*words)
        time.sleep(3)
    counts = load.counts
    demo.say(
        f"{CLIENTS}{counts.requests} requests, {counts.failed} failed; the slowest waited {counts.slowest_s:.1f} s"
    )
    demo.say()
    if counts.failed:
        raise DemoFailed(f"requests failed during `steelyard {shlex.join(words)}`: {counts.reasons}; {LEFT}")


def roll_out(demo: Demo, gateway: str, key: str) -> None:
    """To a second version in place, and back by a restart, while clients ask."""
    demo.say(
        "# version v2 is declared in models.yml; three clients, one of them streaming, ask without a pause from here on"
    )
    declare("v2")
    under_load(demo, gateway, key, "rollout", "tiny", "v2", "-i", INVENTORY, "--yes")
    demo.say("# and back, by a restart of the only engine: requests wait at the gateway")
    under_load(demo, gateway, key, "rollback", "tiny", "-i", INVENTORY, "--yes", "--strategy", "swap")
    declare("v1")


def headline(lines: list[str]) -> str:
    """Return a transcript's rollout under load: its comment, the command, what it printed, the clients' counts.

    Raises ValueError where the transcript has none, so that a README never gets half of it.
    """
    starts = [number for number, line in enumerate(lines) if line.startswith("$ steelyard rollout ")]
    ends = [number for number, line in enumerate(lines) if line.startswith(CLIENTS) and starts and number > starts[0]]
    if not starts or not ends:
        raise ValueError("the transcript has no rollout with its clients' counts")
    first = starts[0]
    while first and lines[first - 1].startswith("# "):
        first -= 1
    return fenced(lines[first : ends[0] + 1])


def fenced(lines: list[str]) -> str:
    """Return lines as a block of text in Markdown."""
    return "\n".join(["```text", *(line.rstrip() for line in lines), "```"]) + "\n"


def write_pages(lines: list[str], root: Path) -> None:
    """Write the transcript into its page, and its rollout into both READMEs; neither where there is no rollout."""
    run = headline(lines)
    write_block("transcript", fenced(lines), root)
    write_block("headline", run, root)


def show_everything(demo: Demo) -> None:
    """Raises DemoFailed at the first step that does not end as expected."""
    demo.run("lab", "up", "3")
    demo.run("apply", "-i", INVENTORY, "--yes", keep=24)
    keep_layers(demo)
    demo.run("status", "-i", INVENTORY)
    lab = require_lab("lab", "demo")
    gateway, key = lab.addresses()["gw-1"], lab_secrets(lab.paths)["demo_client_key"]
    demo.say(
        f"$ POST http://{gateway}:8080/v1/chat/completions  model=tiny  (a real vLLM; the tiny model has "
        f"random weights)"
    )
    demo.say(f"  {ask(gateway, 8080, key, 'tiny')!r}")
    demo.say()
    demo.run("dify", "ls", "-i", INVENTORY)
    demo.run("drift", "-i", INVENTORY)
    demo.say("# somebody changes a file by hand and stops a unit")
    demo.run("lab", "exec", "gw-1", "--", "sed", "-i", "s/maxconn 2000/maxconn 20/", "/etc/haproxy/haproxy.cfg")
    demo.run("lab", "exec", "gpu-1", "--", "systemctl", "stop", "steelyard-front.service")
    demo.run("drift", "-i", INVENTORY, expect=2)
    demo.run("apply", "-i", INVENTORY, "--yes")
    demo.run("apply", "-i", INVENTORY, "--yes")
    demo.run(
        "drift", "-i", INVENTORY, "-v"
    )  # not the first look, which asks question by question: what looks cost from now on
    roll_out(demo, gateway, key)
    took = f"{time.monotonic() - demo.began:.0f} s on {os.cpu_count()} processors"
    demo.say(f"demo: {took}. Simulated here: the GPUs and Dify. Take it away: make demo-down")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help="put the transcript into its page and the rollout into the READMEs"
    )
    given = parser.parse_args()
    demo = Demo()
    try:
        show_everything(demo)
    except DemoFailed as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(f"demo: interrupted; {LEFT}")
    if given.write:
        write_pages(demo.lines, ROOT)


if __name__ == "__main__":
    main()
