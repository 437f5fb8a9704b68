"""Finds why an engine did not start, or died: from its unit's journal to a sentence and a fix. Pure; `evidence` reads.

What the kernel and systemd say for certain comes first, then what the deepest process of the tree says, worker before
engine core before API server; a cause that no rule knows is the last error line of each process, and never the noise
that follows it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from steelyard_host.causes import journal
from steelyard_host.causes.redaction import MASK, is_secret
from steelyard_host.causes.rule import OTHERS, STEPS, Rule
from steelyard_host.causes.rules import SAID
from steelyard_host.wire.rollout import Cause

UNKNOWN = "unknown"
# for groups that a pattern may lack
UNSAID = {
    "file": "a file of the version",
    "library": "a library",
    "most": "none",
    "option": "an option",
    "tensor": "some",
}
IN_VERSION = re.compile(r"/run/steelyard/[\w.-]+/model/")
LONGEST_VALUE = 160
LONGEST = 300  # characters of a line that is shown as it is
GIB = float(1 << 30)
KILLED = re.compile(
    r"(?:Memory cgroup o|O)ut of memory: Killed process (?P<pid>\d+) \((?P<task>[^)]*)\).*?anon-rss:(?P<rss_kb>\d+)kB"
)
PEAK = re.compile(r"memory of the unit: peak (?P<peak>\d+) of (?P<limit>\d+) bytes")
MAIN = re.compile(
    r"Main process exited, code=(?P<code>killed|dumped|exited), status=(?P<number>\d+)/(?P<name>[A-Z0-9_+-]+)"
)
# what vLLM's processes say of each other's end; -9 is killed by SIGKILL
CHILDREN = re.compile(r"Worker proc \S+ died unexpectedly \(exit code: -\d+\)|Failed core proc\(s\): \{[^}]*\}")
CHILD = re.compile(
    r"proc (?P<worker>\S+) died unexpectedly \(exit code: (?P<code>-\d+)|'(?P<core>[^']*)': (?P<core_code>-\d+)"
)
FAULT = re.compile(
    r"^Fatal Python error: (Illegal instruction|Segmentation fault|Bus error|Floating-point "
    r"exception|Aborted)|^!+ (Segfault) encountered"
)
FAULTS = {
    "Illegal instruction": signal.SIGILL,
    "Segmentation fault": signal.SIGSEGV,
    "Segfault": signal.SIGSEGV,  # a library of the engine has its own handler
    "Bus error": signal.SIGBUS,
    "Floating-point exception": signal.SIGFPE,
}
SIGNALS = {
    "SIGKILL": "killed",
    "SIGILL": "illegal-instruction",
    "SIGSEGV": "segmentation-fault",
    "SIGBUS": "bus-error",
    "SIGABRT": "aborted",
}
NO_NUMBER = re.compile(
    r"(?:invalid literal for int\(\) with base \d+|could not convert string to float): '(?P<value>[^']*)'"
)
RESULT = re.compile(r"Failed with result '(?P<result>[\w-]+)'")


class Host(NamedTuple):
    """Facts of the host and the unit that no journal says. Bytes; 0 where there is no limit or nothing is known."""

    unit: str = "steelyard-vllm@SERVICE.service"
    kind: str = "vllm"
    memory_bytes: int = 0
    limit_bytes: int = 0
    amx: bool = False
    environment: Sequence[tuple[str, str]] = ()  # that the service is given
    watch_killed: str = ""  # why the watch killed it, where that was the end of this start


def cause(lines: Sequence[str], host: Host) -> Cause | None:
    """The cause of the end of one start, by its lines; None where nothing says that it failed."""
    last = journal.safe(lines)
    trees = journal.processes(last)
    plain = [match["text"] for match in (journal.LINE.match(line) for line in last) if match]
    steps = (
        _out_of_memory,
        _systemd_step,
        _watched,
        _main_signal,
        _fault,
        _environment_value,
        _by_rule,
        _child_signal,
        _time_ran_out,
        _unknown,
    )
    for step in steps:
        cause = step(plain, trees, host)
        if cause is not None:
            return cause
    return None


Trees = Sequence[journal.Process]


def _out_of_memory(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    """By systemd's word, or the kernel's."""
    kills = [match for match in (KILLED.search(text) for text in plain) if match]
    is_told = any("killed by the OOM killer" in text or "result 'oom-kill'" in text for text in plain)
    if not kills and not is_told:
        return None
    peaks = [match for match in (PEAK.search(text) for text in plain) if match]
    limit = int(peaks[-1]["limit"]) if peaks else host.limit_bytes
    limited = 0 < limit < (host.memory_bytes or limit + 1)
    parts = []
    if kills:
        parts.append("%s had %s" % (kills[-1]["task"], _gib(int(kills[-1]["rss_kb"]) * 1024)))
    if peaks:
        parts.append("the unit's peak was %s" % _gib(int(peaks[-1]["peak"])))
    if limited:
        parts.append("its limit is %s" % _gib(limit))
    elif any("Memory cgroup" in match[0] for match in kills):
        parts.append("the limit of a control group is reached")
    elif host.memory_bytes:
        parts.append("the host has %s" % _gib(host.memory_bytes))
    limit_is = "; the limit is a drop-in's: `systemctl cat %s`" % host.unit if limited else ""
    figures = ", ".join(parts) or "how much it had is not known"
    return _made("out-of-memory", journal.KERNEL, figures=figures, limit=limit_is)


def _watched(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    """The watch ends what works no more: why it did not is the cause, where its processes say it."""
    if not host.watch_killed:
        return None
    deeper = _fault(plain, trees, host) or _by_rule(plain, trees, host) or _child_signal(plain, trees, host)
    if deeper is not None:
        return deeper
    return _made("killed-by-watch", "watch", why=host.watch_killed)


def _systemd_step(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    """The engine's first instruction was never reached."""
    for rule in STEPS:
        for text in plain:
            match = rule.pattern.search(text)
            if match:
                return _filled(rule, match, journal.SYSTEMD)
    if any("result 'exec-condition'" in text or "Skipped due to 'exec-condition'" in text for text in plain):
        beside = ("exec-condition", "Starting ", "Stopped ", "Condition check")
        why = [text for text in plain if not journal.NOISE.search(text) and not any(word in text for word in beside)]
        return _made("gpu-unusable", why=why[-1][:LONGEST] if why else "it waits for a reset")
    return None


def _main_signal(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    """The unit's first process was ended by a signal that systemd itself did not send for a time-out."""
    if any("timed out" in text or "result 'timeout'" in text for text in plain):
        return None
    for text in plain:
        match = MAIN.search(text)
        if (
            match and match["code"] != "exited" and match["name"] not in ("TERM", "ABRT")
        ):  # one that aborts says why before
            return _signalled("the engine's first process", int(match["number"]), plain, host)
    return None


def _fault(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    """What Python's own handler prints of a process that a signal ends. One that aborts itself has said why before."""
    for process in trees:
        for text in process.trouble:
            match = FAULT.search(text)
            number = FAULTS.get(match[1] or match[2]) if match else None
            if number is not None:
                return _signalled(_called(process), number, plain, host, process.name)
    return None


def _called(process: journal.Process) -> str:
    return "the engine's first process" if process.rank > 1 else process.name


def _child_signal(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    """A process under it was; whoever is above it tells how it ended."""
    ends = [match for text in plain for part in CHILDREN.findall(text) for match in CHILD.finditer(part)]
    if ends:  # SIGTERM is what the others get when one of them is gone
        first = min(ends, key=lambda match: int(match["code"] or match["core_code"]) == -signal.SIGTERM)
        return _signalled(first["worker"] or first["core"], -int(first["code"] or first["core_code"]), plain, host)
    for process in trees:
        if any(FAULT.search(text) for text in process.trouble):
            return _signalled(_called(process), signal.SIGABRT, plain, host, process.name, _why(process))
    if any(match["name"] == "ABRT" for match in (MAIN.search(text) for text in plain) if match):
        why = next((_why(process) for process in trees if process.name not in (journal.SYSTEMD, journal.KERNEL)), "")
        return _signalled("the engine's first process", signal.SIGABRT, plain, host, why=why)
    speaks = any(
        next(process.texts(), None) for process in trees if process.name not in (journal.SYSTEMD, journal.KERNEL)
    )
    if not speaks and any("Engine core initialization failed" in text or "EngineDeadError" in text for text in plain):
        return _made("process-gone", "APIServer")
    return None


def _why(process: journal.Process) -> str:
    """What it said last before it aborted itself, if anything."""
    spoken = [text for text in process.trouble if not FAULT.search(text) and not text.startswith("terminate called")]
    last = spoken[-1] if spoken else process.chains[-1][0] if process.chains else ""
    return ": %s" % last[:LONGEST] if last else ""


def _signalled(
    who: str, number: int, plain: Sequence[str], host: Host, process: str = journal.SYSTEMD, why: str = ""
) -> Cause:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "signal %d" % number
    logged = " ".join(plain)
    on_cpu = "device_config=cpu" in logged or "CPU backend" in logged
    amx = host.amx and host.kind == "vllm" and on_cpu and "dtype=torch.float32" not in logged
    what = ": vLLM's CPU build in bfloat16, on a processor with AMX" if amx else ""
    return _made(SIGNALS.get(name, "signal"), process, who=who, name=name, unit=host.unit, amx=what, why=why)


def _environment_value(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    """Python says the value that is no number, and not where it found it."""
    for process in trees:
        for text in process.texts():
            match = NO_NUMBER.search(text)
            names = [name for name, value in host.environment if match and value == match["value"]]
            if match and names:
                shown = MASK if is_secret(names[0]) else match["value"]
                values = {"variable": names[0], "why": "`%s`: it has to be a number" % shown}
                return _made("environment-value", process.name, **values)
    return None


def _by_rule(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    """The most particular rule of the deepest processes whose words fit any.

    Beside them, what a server said to requests is no cause.
    """
    rules = [rule for rule in SAID if rule.engine in ("", host.kind)]
    for _, peers in groupby((tree for tree in trees if tree.name != journal.KERNEL), key=lambda process: process.rank):
        said_by = [(process.name, text) for process in peers for text in process.texts()]
        for rule in rules:
            for name, text in said_by:
                match = rule.pattern.search(text)
                if match:
                    return _filled(rule, match, name)
    return None


def _time_ran_out(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    if any("result 'timeout'" in text for text in plain):
        stopping = any("stop-sigterm" in text or "Stopping timed out" in text for text in plain)
        if stopping:
            return _made("stop-timed-out")
        return _made("start-timed-out", last=_last_step(plain))
    for text in plain:
        match = re.search(r"^not ready: (?P<why>.*)", text)
        if match:
            return _made("no-token", why=_not_ready(match["why"]), last=_last_step(plain), unit=host.unit)
    return None


def slow(lines: Sequence[str]) -> Cause:
    """The cause of a start that takes too long, and says of nothing that it fails: where it stands."""
    at = _last_step([match["text"] for match in (journal.LINE.match(line) for line in journal.safe(lines)) if match])
    return Cause("start-timed-out", "the last it said: %s" % at, OTHERS["start-timed-out"].fix)


def _not_ready(why: str) -> str:
    return "it does not listen yet" if re.match("FileNotFoundError|ConnectionRefusedError", why) else why[:120]


def _last_step(plain: Sequence[str]) -> str:
    """What the engine itself logged last, without its head."""
    for text in reversed(plain):
        head = journal.HEAD.match(text)
        body = text[head.end() :] if head else text
        log = journal.LOG.match(body)
        if log and body[log.end() :].strip():
            return "`%s`" % body[log.end() :].strip()[:160]
    return "nothing"


def _unknown(plain: Sequence[str], trees: Trees, host: Host) -> Cause | None:
    """The last error line of each process, the deepest first."""
    ended = [text for text in plain if RESULT.search(text) or MAIN.search(text) or "Deactivated successfully" in text]
    last = list(dict.fromkeys(_last_words(trees)))
    if last:
        return _made(UNKNOWN, "engine", words="; ".join(last)[: 2 * LONGEST], unit=host.unit)
    if not ended:
        return None
    match = next((end for end in (MAIN.search(text) for text in reversed(ended)) if end), None)
    result = RESULT.search(ended[-1])
    how = (
        "exit status %s" % match["number"]
        if match
        else "result %s" % result["result"]
        if result
        else "exit status 0, unasked,"
    )
    return _made(UNKNOWN, words="it ended with %s and said nothing of why" % how, unit=host.unit)


def _last_words(trees: Trees) -> Iterator[str]:
    for process in trees:
        if process.name in (journal.SYSTEMD, journal.KERNEL):
            continue
        text = process.chains[-1][0] if process.chains else process.trouble[-1] if process.trouble else ""
        if text:
            yield text[:LONGEST] if process.name == "engine" else "%s: %s" % (process.name, text[:LONGEST])


def _made(code: str, process: str = journal.SYSTEMD, **values: str) -> Cause:
    template = OTHERS[code]
    return Cause(code, template.sentence.format(**values), template.fix.format(**values), process)


def _filled(rule: Rule, match: re.Match[str], process: str) -> Cause:
    """Groups whose names end in a number stand for the one without it."""
    values: dict[str, str] = {}
    for name, value in match.groupdict().items():
        plain = name.rstrip("0123456789")
        values[plain] = values.get(plain) or _tidy(value)
    shown = {name: value or UNSAID.get(name, "?") for name, value in values.items()}
    return Cause(rule.code, rule.sentence.format(**shown).replace(": ?", ""), rule.fix.format(**shown), process)


def _tidy(value: Any) -> str:
    """One line; files below the constant path by their names in the version, long lists cut."""
    text = IN_VERSION.sub("", " ".join(str(value or "").split())).rstrip(" .:,")
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE].rsplit(" ", 1)[0] + " ..."


def _gib(count: int) -> str:
    return "%.1f GiB" % (count / GIB) if count >= GIB else "%.0f MiB" % (count / float(1 << 20))
