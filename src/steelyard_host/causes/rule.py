"""Rules of causes, and templates for those that no engine's own words tell: systemd's, the kernel's, the watchdog's."""

from __future__ import annotations

import re
from typing import NamedTuple


class Rule(NamedTuple):
    """A kind of failure by what is said of it. `engine`: only for that one; a group that matches nothing is "?"."""

    code: str
    pattern: re.Pattern[str]
    sentence: str
    fix: str
    engine: str = ""


def rule(code: str, pattern: str, sentence: str, fix: str, engine: str = "") -> Rule:
    """A rule whose pattern may match over lines."""
    return Rule(code, re.compile(pattern, re.DOTALL), sentence, fix, engine)


class CauseTemplate(NamedTuple):
    """A sentence and its fix, to be filled."""

    sentence: str
    fix: str


# what systemd itself could not do before the engine's first instruction, by its exit codes' names
STEPS = (
    rule(
        "folder-missing",
        r"Failed to set up mount namespacing: (?:/run/systemd/(?:unit-root|mount-rootfs))?(?P<path>\S+?): No such file",
        "`{path}` is not there, and the unit binds it",
        "bring the version to the host: `steelyard models push`, then `steelyard apply`",
    ),
    rule(
        "sandbox",
        r"status=226/NAMESPACE|Failed to set up mount namespacing: (?P<why>.*)",
        "systemd cannot set up the unit's sandbox: {why}",
        "see that the folders which `systemctl cat` shows under BindReadOnlyPaths and LoadCredential are there",
    ),
    rule(
        "key-unreadable",
        r"status=243/CREDENTIALS",
        "the service's key cannot be read from /etc/steelyard/keys",
        "engines are given no key: `systemctl cat` shows what sets LoadCredential; `steelyard apply` mends the unit",
    ),
    rule(
        "user-missing",
        r"status=217/USER",
        "the user that the unit runs as does not exist on this host",
        "`steelyard apply` makes it; see that no drop-in beside `30-account.conf` sets another: `systemctl cat`",
    ),
    rule(
        "folder-missing",
        r"status=200/CHDIR",
        "the unit's working folder is not there",
        "`steelyard apply` makes it; see that no drop-in sets WorkingDirectory: `systemctl cat`",
    ),
    rule(
        "environment-file-missing",
        r"Failed to load environment files: (?P<why>.*)",
        "the service's environment file cannot be read: {why}",
        "`steelyard apply` writes it; see that no drop-in names another: `systemctl cat`",
    ),
    rule(
        "engine-missing",
        r"(?:exec: |: )(?P<path>/opt/steelyard/engines/\S+?): (?:not found|No such file or directory)",
        "the engine is not installed: `{path}` is not there",
        "`steelyard apply` installs it; or set `serve.engine_version` in models.yml to a version that the mirror has",
    ),
    rule(
        "program-missing",
        r"status=203/EXEC",
        "the program that the unit starts is not there or not executable",
        "`steelyard apply` installs it",
    ),
)

OTHERS = {
    "out-of-memory": CauseTemplate(
        "killed by the kernel's OOM killer (SIGKILL): {figures}",
        (
            "lower `serve.gpu_memory_utilization`, `serve.max_model_len` or, on CPU, `VLLM_CPU_KVCACHE_SPACE` "
            "in models.yml{limit}"
        ),
    ),
    "killed-by-watch": CauseTemplate(
        "the watch killed it: {why}",
        "mend what it says; `vllm.hung_s` is how long an engine may give nothing",
    ),
    "gpu-unusable": CauseTemplate(
        "not started, because a GPU of it is not usable: {why}",
        "`steelyard doctor --hosts` says whether to reset or reboot, then `steelyard apply`",
    ),
    "killed": CauseTemplate(
        "{who} was killed from outside: SIGKILL, and no OOM killer's word",
        "somebody or something on the host sent it: see `journalctl -k`, and who has root; systemd starts it again",
    ),
    "illegal-instruction": CauseTemplate(
        "{who} was killed by SIGILL, an illegal instruction{amx}",
        (
            "set `serve.options: {{dtype: float32}}` in models.yml; where it is that already, another build "
            "(`serve.engine_version`)"
        ),
    ),
    "segmentation-fault": CauseTemplate(
        "{who} was killed by SIGSEGV, a fault in native code",
        (
            "if it comes again, set `serve.engine_version` in models.yml to another version; `coredumpctl` and "
            "`journalctl -k` may tell more"
        ),
    ),
    "bus-error": CauseTemplate(
        "{who} was killed by SIGBUS: a mapped file is shorter than it was, shared memory is full, or memory is broken",
        (
            "see that /dev/shm is not full, `df -h /dev/shm`; compare the version, `steelyard models verify`; "
            "`journalctl -k` tells of memory"
        ),
    ),
    "aborted": CauseTemplate(
        "{who} aborted itself (SIGABRT){why}",
        (
            "see the lines before in `journalctl -u {unit}`; if it comes again, set `serve.engine_version` in "
            "models.yml to another version"
        ),
    ),
    "process-gone": CauseTemplate(
        "the engine core ended without a word: a signal that leaves none, as SIGKILL, and no OOM killer's word",
        "somebody or something on the host ended it: see `journalctl -k`, and who has root; systemd starts it again",
    ),
    "signal": CauseTemplate("{who} was killed by {name}", "find who sent it; systemd starts it again"),
    "environment-value": CauseTemplate(
        "environment variable `{variable}` cannot be {why}",
        "mend `{variable}` under `serve.environment` in models.yml",
    ),
    "stop-timed-out": CauseTemplate(
        "it did not stop in its time, and systemd killed it",
        "requests may take longer than `vllm.drain_s`; nothing is to be mended where it is started again",
    ),
    "start-timed-out": CauseTemplate(
        "no token before the unit's time ran out; the last it said: {last}",
        "raise `vllm.ready_s` or `vllm.warm_s`, which make the unit's TimeoutStartSec, or see why it is slow",
    ),
    "no-token": CauseTemplate(
        "no token within `vllm.ready_s` ({why}); the last it said: {last}",
        "raise `vllm.ready_s`, or see why it is slow or refuses: `journalctl -u {unit}`",
    ),
    "unknown": CauseTemplate("{words}", "see its log: `journalctl -u {unit}`"),
}
