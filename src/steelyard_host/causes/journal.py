"""The journal of an engine's unit as what each of its processes said: tracebacks to their root, lines that tell
trouble, noise left out. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from steelyard_host.causes.redaction import hide

SYSTEMD, KERNEL = "systemd", "kernel"
LINE = re.compile(r"^(?:\d+\.\d+ )?(?P<ident>[^\s\[]+)\[(?P<pid>\d+)\]: (?P<text>.*)$")
# vLLM names the process in front of what it logs, and not in front of a traceback that Python prints
HEAD = re.compile(r"^\((?P<name>[A-Za-z][\w.-]*)(?: pid=(?P<pid>\d+))?\) ?")
LOG = re.compile(r"^(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?")
LLAMACPP = re.compile(r"^\d+\.\d\d\.\d{3}\.\d{3} (?P<level>[A-Z]) ")  # llama.cpp's head
LEVELS = {"E": "ERROR", "W": "WARNING", "I": "INFO", "D": "DEBUG", "T": "DEBUG"}
STARTED = re.compile(r"^(?:\d+\.\d+ )?systemd\[\d+\]: Started ")  # what was wrong before did not keep it from serving
COLOUR = re.compile(
    r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]{0,200}\x07|[\x00-\x08\x0b-\x1f\x7f]"
)  # and what else a terminal would obey
DEPTH = ("worker", "enginecore", "apiserver")  # the deeper a process, the nearer to the cause
TRACEBACK = "Traceback (most recent call last)"
LINKS = ("The above exception was the direct cause", "During handling of the above exception")
LONGEST = 8  # lines of one exception's message
WIDEST = 2000  # characters of a line, and of a message, that are judged: a cause stands at its beginning
TROUBLE = re.compile(
    (
        r"[Ee]rror\b|\b[Ff]ail(ed|ure)\b|\b[Cc]annot\b|not found|terminate "
        r"called|what\(\)|[Ff]atal|Segfault|No such file|[Dd]enied|[Aa]bort(ed|ing)|unable "
        r"to|^\[rank\d+\]:\[E|GGUF file is version|GGML_ASSERT"
    ),
)
# what is printed after the cause, and because of it, or at every start
NOISE = re.compile(
    r"resource_tracker|leaked (semaphore|shared_memory)|Engine core initialization failed|[Ss]ee root cause above|"
    r"EngineCore (failed to start|encountered a fatal)|WorkerProc (failed|hit)|WorkerProc initialization failed|"
    r"Worker failed with error|check the stack trace above|^(KeyboardInterrupt|SystemExit)\b|CancelledError|"
    r"^(BrokenPipeError|ConnectionResetError|EOFError)\b|^zmq\.error\.ContextTerminated|^RuntimeError: "
    r"(cancelled|Executor failed)|"
    r"Exception ignored|interpreter shutdown|died unexpectedly|EngineDeadError|EngineCore died|"
    r"engine exited before it was ready|(Main|Control) process exited|Failed with result|Failed to start |Consumed |"
    r"^warnings\.warn|\w+Warning: |^Process \w+:$|destroy_process_group|non-default args|Consider "
    r"(setting|increasing)|exiting due to model loading error|"
    r"clean up at shutdown|nanobind: |^- (leaked|\.\.\. skipped)|AsyncLLM output_handler failed|Failed to "
    r"init server, please check|^Dumping (input data|scheduler) |failed to load model|^usage: |Start "
    r"request repeated"
)


@dataclass(frozen=True)
class Process:
    """A process of an engine, as its journal has it.

    `chains`: its tracebacks in their order, each as its exceptions from the root on; `trouble`: other lines that tell
    some.
    """

    name: str
    chains: Sequence[Sequence[str]] = ()
    trouble: Sequence[str] = ()

    @property
    def rank(self) -> int:
        """0 for the deepest; systemd's own comes last."""
        plain = self.name.lower().replace("_", "").replace("-", "")
        if plain == SYSTEMD:
            return len(DEPTH) + 1
        return next((number for number, word in enumerate(DEPTH) if word in plain), len(DEPTH))

    def texts(self) -> Iterator[str]:
        """The likeliest cause first: the root of the last traceback, the rest of it, older ones, then lines."""
        for chain in reversed(self.chains):
            yield from chain
        yield from self.trouble


@dataclass
class _Reading:
    """Of one process, while its lines are read."""

    name: str
    chains: list[list[str]] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    inside: bool = False  # a traceback's frames
    message: list[str] = field(default_factory=list)  # of an exception
    linked: bool = False

    def close(self) -> None:
        if self.message:
            text = _tidy(" ".join(part.strip() for part in self.message if part.strip()))
            if self.linked and self.chains:
                self.chains[-1].append(text)
            else:
                self.chains.append([text])
            self.linked = False
        self.message = []

    def take(self, level: str, text: str) -> None:
        if text.startswith(TRACEBACK):
            self.close()
            self.inside = True
        elif self.inside:
            if text and not text.startswith((" ", "\t")):
                self.inside, self.message = False, [text]
        elif text.startswith(LINKS):
            self.close()
            self.linked = True
        elif self.message and text.strip() and len(self.message) < LONGEST and not LINE_OF_ITS_OWN.match(text):
            self.message.append(text)
        else:
            self.close()
            if level in ("ERROR", "CRITICAL") or (not level and TROUBLE.search(text)):
                self.trouble.append(text.strip())


# pydantic's frame around what the engine said
FRAME = re.compile(r"^pydantic_core\S*: \d+ validation errors? for \w+ (?:Value error, |Assertion failed, )?")


def _tidy(text: str) -> str:
    text = FRAME.sub("", text).split(" [type=value_error", 1)[0].split(" For further information visit", 1)[0]
    return hide(text)[:WIDEST]


LINE_OF_ITS_OWN = re.compile(
    r"^(Process \w+:$|(INFO|WARNING|ERROR): |usage: |\[[A-Z]\d{4} |\[rank)|.*(Warning: |resource_tracker)"
)


def bare(line: str) -> str:
    """The text of a line of the journal, without time and source, colours and secrets."""
    match = LINE.match(line)
    return hide(COLOUR.sub("", match["text"] if match else line))


def safe(lines: Iterable[str]) -> list[str]:
    """Lines that say something, as they may be judged and shown: of a length that has an end, and without secrets."""
    return [hide(COLOUR.sub("", line[: 2 * WIDEST]))[:WIDEST] for line in lines if line.strip()]


def starts(lines: Iterable[str], unit: str) -> list[list[str]]:
    """The unit's log by its starts; what comes before the first is one too, for a log that is cut."""
    logs: list[list[str]] = [[]]
    begins = re.compile(r"^(?:\d+\.\d+ )?systemd\[\d+\]: Starting %s" % re.escape(unit))
    for line in lines:
        if begins.match(line):
            logs.append([])
        logs[-1].append(line)
    return [log for log in logs if log]


ENDED = re.compile(r"systemd\[\d+\]: .*(Failed with result|Main process exited|Skipped due to|Failed to (start|load))")


def is_failed(start: Iterable[str]) -> bool:
    """Whether a start ended other than by being stopped: with status 0 too, where nobody asked for its end."""
    asked = False
    for line in start:
        asked = asked or "]: Stopping " in line
        if ENDED.search(line) or (not asked and "Deactivated successfully." in line):
            return True
    return False


def processes(lines: Iterable[str]) -> list[Process]:
    """The processes that speak in a log, the deepest first; of an engine that served, what was said since.

    Lines are as of `journalctl -o short-unix --no-hostname`, with or without times.
    """
    matches = [match for match in (LINE.match(line) for line in lines) if match]
    serves = max((number for number, match in enumerate(matches) if STARTED.match(match[0])), default=-1)
    names: dict[str, str] = {}
    for match in matches:
        head = HEAD.match(match["text"])
        if head and head["pid"]:
            names[head["pid"]] = head["name"]
    reading: dict[str, _Reading] = {}
    for match in matches[serves + 1 :]:
        text = COLOUR.sub("", match["text"])
        ident, pid, level = match["ident"], match["pid"], ""
        head = HEAD.match(text)
        if head:
            text, pid = text[head.end() :], head["pid"] or pid
        log = LOG.match(text)
        if log:
            text, level = text[log.end() :], log["level"]
        other = LLAMACPP.match(text)
        if other:
            text, level = text[other.end() :], LEVELS.get(other["level"], "")
        if level in ("DEBUG", "INFO", "WARNING") or text.startswith(("INFO: ", "WARNING: ")):
            continue
        name = ident if ident in (SYSTEMD, KERNEL) else names.get(pid, "")
        process = reading.setdefault(pid if name not in (SYSTEMD, KERNEL) else name, _Reading(name))
        if other:  # its own thread writes, also into the middle of a traceback's message
            process.close()
        process.take(level, text)
    told = []
    for process in reading.values():
        process.close()
        chains = [[text for text in chain if not NOISE.search(text)] for chain in process.chains]
        trouble = [text for text in process.trouble if not NOISE.search(text)]
        told.append(Process(process.name or "engine", [chain for chain in chains if chain], trouble))
    return sorted(told, key=lambda process: process.rank)
