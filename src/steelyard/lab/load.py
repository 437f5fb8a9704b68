"""A load of streaming and plain requests on one alias: what clients got while something was done to its hosts.

Every answer is held against what the versions say to the same prompt: a text that is neither one's is an answer that
mixes them. Run alone it prints its counts: `python -m steelyard.lab.load ADDRESS PORT KEY_FILE ALIAS SECONDS`.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

PROMPTS = ("hello", "once upon a time", "the weight of steel")
TOKENS = 24
PATIENCE_S = 300
PAUSE_S = 0.1  # of a client between two requests: two cores are to do the rollout as well


@dataclass
class Counts:
    """Counts of requests by what became of them. `failed`: no whole answer, with the reasons; `mixed`: an answer
    that no version gives.
    """

    requests: int = 0
    failed: int = 0
    mixed: int = 0
    slowest_s: float = 0.0
    by_version: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)


class RequestFailed(Exception):
    """A request that a client would call failed."""


def ask(address: str, port: int, key: str, alias: str, prompt: str, stream: bool, knock_s: float = 0) -> str:
    """Ask once; return the whole answer. Raises RequestFailed: a status that is not 200, or an end before the end.

    A connection that is refused is tried again for `knock_s`: nothing was begun on it.
    """
    connection = _connected(address, port, knock_s)
    body = {
        "model": alias,
        "prompt": prompt,
        "max_tokens": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": stream,
    }
    try:
        connection.request(
            "POST",
            "/v1/completions",
            json.dumps(body),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise RequestFailed(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise RequestFailed(f"{answer.status} {content.decode(errors='replace')[:80]}")
    return streamed(content.decode()) if stream else str(json.loads(content)["choices"][0]["text"])


def _connected(address: str, port: int, knock_s: float) -> http.client.HTTPConnection:
    """Connect. Raises RequestFailed."""
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE_S)
    end = time.monotonic() + knock_s
    while True:
        try:
            connection.connect()
            return connection
        except OSError as error:
            if time.monotonic() > end:
                raise RequestFailed(f"{type(error).__name__}: {error}") from error
            time.sleep(0.2)


def streamed(content: str) -> str:
    """Return the text of a stream of events. Raises RequestFailed where it was cut."""
    lines = [line[6:] for line in content.splitlines() if line.startswith("data: ")]
    if not lines or lines[-1] != "[DONE]":
        raise RequestFailed("a stream was cut")
    events = [json.loads(line) for line in lines[:-1]]
    wrong = [event for event in events if "error" in event]
    if wrong:
        raise RequestFailed(f"an error in a stream: {str(wrong[0])[:80]}")
    return "".join(event["choices"][0]["text"] for event in events if event["choices"])


class LoadGenerator:
    """`clients` threads that ask without a pause, until the block ends; every second one streams."""

    def __init__(
        self,
        address: str,
        port: int,
        key: str,
        alias: str,
        texts: dict[str, dict[str, str]],
        clients: int = 4,
        knock_s: float = 0,
        pause_s: float = PAUSE_S,
    ) -> None:
        self.knock_s, self.pause_s = knock_s, pause_s
        self.where = (address, port, key, alias)
        self.texts = texts
        self.counts = Counts()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(number,), daemon=True) for number in range(clients)
        ]

    def __enter__(self) -> LoadGenerator:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _client(self, number: int) -> None:
        turn = number
        while not self._over.is_set():
            prompt = PROMPTS[turn % len(PROMPTS)]
            turn += 1
            began = time.monotonic()
            try:
                text, why = ask(*self.where, prompt, number % 2 == 1, self.knock_s), ""
            except RequestFailed as error:
                text, why = "", str(error)
            took = time.monotonic() - began
            version = next((name for name, said in self.texts.items() if said[prompt] == text), None)
            with self._lock:
                self._count(why, version, took)
            time.sleep(self.pause_s)

    def _count(self, why: str, version: str | None, took: float) -> None:
        counts = self.counts
        counts.requests += 1
        counts.slowest_s = max(counts.slowest_s, round(took, 3))
        if why:
            counts.failed += 1
            counts.reasons[why] = counts.reasons.get(why, 0) + 1
        elif version is None and self.texts:
            counts.mixed += 1
        else:
            counts.by_version[version or "?"] = counts.by_version.get(version or "?", 0) + 1

    def figures(self) -> dict[str, object]:
        """Return the counts by name, as they are printed."""
        return asdict(self.counts)


def texts_of(address: str, port: int, key: str, alias: str) -> dict[str, str]:
    """Return what the version that serves now says to each prompt."""
    return {prompt: ask(address, port, key, alias, prompt, False) for prompt in PROMPTS}


if __name__ == "__main__":
    host, port, key_file, alias, seconds = sys.argv[1:6]
    key = Path(key_file).read_text().strip()
    with LoadGenerator(host, int(port), key, alias, {}) as load:
        time.sleep(float(seconds))
    print(json.dumps(load.figures()))
