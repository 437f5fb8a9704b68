"""From an engine's journal to one sentence: real journals of vLLM 0.32 (CPU) and llama.cpp, and what no journal of ours
holds.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steelyard.engine.execute import engine_failed
from steelyard.errors import TaskFailed
from steelyard.render.tables import cause_lines
from steelyard.render.text import error_lines
from steelyard_host.causes import diagnosis, evidence
from steelyard_host.causes import journal as said
from steelyard_host.causes.diagnosis import Host
from steelyard_host.causes.rule import OTHERS, STEPS
from steelyard_host.causes.rules import SAID
from steelyard_host.engine import kill_log
from steelyard_host.wire.rollout import Cause
from steelyard_host.wire.services import HostStatus, ServiceState, ServiceStatus

JOURNALS = Path(__file__).parent.parent / "data/journals"
UNIT = "steelyard-vllm@broken.service"
EXPECTED = json.loads((JOURNALS / "causes.json").read_text())
ENVIRONMENT = (("OMP_NUM_THREADS", "1"), ("VLLM_CPU_KVCACHE_SPACE", "lots"))


def journal(name: str) -> list[str]:
    return (JOURNALS / f"{name}.log").read_text().splitlines()


def host(name: str = "", **more: object) -> Host:
    kind = "llamacpp" if name.startswith("llamacpp") else "vllm"
    unit = f"steelyard-{kind}@broken.service"
    return Host(unit=unit, kind=kind, memory_bytes=24 << 30, environment=ENVIRONMENT, **more)  # type: ignore[arg-type]


def engine(*texts: str, pid: int = 7) -> list[str]:
    return [f"engine-exec[{pid}]: {text}" for text in texts]


def of(*lines: str, **more: object) -> diagnosis.Cause:
    found = diagnosis.cause(lines, host(**more))
    assert found is not None
    return found


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_cause_of_a_real_failure(name: str) -> None:
    found = diagnosis.cause(journal(name), host(name, amx=True))
    assert found is not None
    assert [found.code, found.process, found.sentence] == EXPECTED[name]


def test_every_journal_has_an_expected_cause() -> None:
    assert {path.stem for path in JOURNALS.glob("*.log")} == set(EXPECTED)


def test_the_worker_is_heard_before_the_engine_core_and_that_before_the_server() -> None:
    """The journal's order is the other way round, and Python's tracebacks have no name in front."""
    lines = [
        *engine(
            "(APIServer pid=7) INFO 11-30 03:46:18 [api.py:1] starts",
            "Traceback (most recent call last):",
            "OSError: server",
        ),
        *engine(
            "(EngineCore pid=8) INFO 11-30 03:46:18 [core.py:1] starts",
            "Traceback (most recent call last):",
            "OSError: core",
            pid=8,
        ),
        *engine(
            "(Worker_TP1 pid=9) ERROR 11-30 03:46:18 [w.py:1] Traceback (most recent call last):",
            "(Worker_TP1 pid=9) ERROR 11-30 03:46:18 [w.py:1] OSError: worker",
            pid=9,
        ),
    ]
    assert of(*lines).sentence == "Worker_TP1: OSError: worker; EngineCore: OSError: core; APIServer: OSError: server"


def test_of_a_chain_the_first_exception_is_the_cause() -> None:
    trace = "Traceback (most recent call last):"
    link = "The above exception was the direct cause of the following exception:"
    found = of(*engine(trace, "  File x", "KeyError: 'root'", "", link, "", trace, "  File y", "RuntimeError: wrapped"))
    assert (found.code, found.sentence) == ("unknown", "KeyError: 'root'")


def test_noise_is_never_the_cause() -> None:
    noise = [
        "Traceback (most recent call last):",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}",
        (
            "/usr/lib/python3.11/multiprocessing/resource_tracker.py:224: UserWarning: resource_tracker: There "
            "appear to be 1 leaked semaphore objects"
        ),
        "[rank0]:[W1130] Warning: WARNING: destroy_process_group() was not called",
        (
            "(APIServer pid=7) WARNING 11-30 03:46:18 [x.py:1] Found ulimit of 20000: `OSError: [Errno 24] Too "
            "many open files`"
        ),
    ]
    ended = "systemd[1]: steelyard-vllm@broken.service: Main process exited, code=exited, status=1/FAILURE"
    found = of(*engine("(Worker pid=8) INFO 11-30 03:46:18 [x.py:1] hi", *noise, "ValueError: mine"), ended)
    assert found.sentence == "APIServer: ValueError: mine"
    assert of(*engine(*noise[2:]), ended).sentence == "it ended with exit status 1 and said nothing of why"


@pytest.mark.parametrize(
    "after",
    [
        "BrokenPipeError: [Errno 32] Broken pipe",
        "EOFError",
        "RuntimeError: cancelled",
        "RuntimeError: Executor failed.",
    ],
)
def test_what_breaks_when_another_process_is_gone_is_noise(after: str) -> None:
    """The last traceback of a process is of what it did when its peers were gone already."""
    trace = ["Traceback (most recent call last):", "  File x"]
    assert (
        of(*engine(*trace, "AssertionError: 7 is not divisible by 4", *trace, after)).sentence
        == "AssertionError: 7 is not divisible by 4"
    )


# What there was no GPU for: words from the sources of vLLM 0.33 and PyTorch 2.14
WORDS = {
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
        "79.11 GiB of which 1.20 GiB is free."
    ): (
        "gpu-out-of-memory",
        "CUDA out of memory: 2.00 GiB were asked of GPU 0, 1.20 GiB of its 79.11 GiB are free",
    ),
    (
        "ValueError: Free memory on device cuda:0 (12.1/79.1 GiB) on startup is less than desired GPU memory "
        "utilization (0.9, 71.2 GiB). Decrease"
    ): (
        "gpu-memory-taken",
        "71.2 GiB were asked of device cuda:0 (`gpu_memory_utilization` 0.9), and 12.1 of its 79.1 GiB are free",
    ),
    (
        "ValueError: To serve at least one request with the model's max seq len (131072), (16.0 GiB KV cache "
        "is needed, which is larger than the available KV cache memory (3.5 GiB). Based on the available "
        "memory, the estimated maximum model length is 28672. Try"
    ): (
        "cache-too-small",
        "the KV cache is too small: a request of 131072 tokens needs 16.0 GiB, 3.5 GiB are available",
    ),
    "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device": (
        "no-kernel-for-gpu",
        "this build of the engine has no kernel for this GPU",
    ),
    "RuntimeError: The NVIDIA driver on your system is too old (found version 12040).": (
        "gpu-driver",
        "the NVIDIA driver is too old for this engine's CUDA",
    ),
    "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for url x": (
        "license",
        "the model's licence must be accepted, and a token given, where it comes from",
    ),
    "OSError: [Errno 28] No space left on device: '/var/cache/steelyard/x'": (
        "disk-full",
        "a disk of the host is full",
    ),
}


@pytest.mark.parametrize("text", WORDS)
def test_words_of_gpus_and_of_the_hub(text: str) -> None:
    found = of(*engine("Traceback (most recent call last):", "  File x", text))
    assert (found.code, found.sentence) == WORDS[text]
    assert "{" not in found.fix


def test_the_oom_killer_is_named_with_its_figures() -> None:
    kernel = (
        "kernel[0]: Memory cgroup out of memory: Killed process 71 (VLLM::Worker) total-vm:9kB, "
        "anon-rss:2097152kB, file-rss:0kB"
    )
    end = "systemd[1]: steelyard-vllm@broken.service: Failed with result 'oom-kill'."
    peak = "python3[72]: memory of the unit: peak 4294967296 of 4294967296 bytes"
    found = of(peak, end, kernel)
    assert (found.code, found.process) == ("out-of-memory", "kernel")
    assert found.sentence == (
        "killed by the kernel's OOM killer (SIGKILL): VLLM::Worker had 2.0 GiB, the unit's peak was 4.0 "
        "GiB, its limit is 4.0 GiB"
    )
    assert of(end).sentence == "killed by the kernel's OOM killer (SIGKILL): the host has 24.0 GiB"


@pytest.mark.parametrize(
    ("amx", "dtype", "tells"), [(True, "bfloat16", True), (True, "float32", False), (False, "bfloat16", False)]
)
def test_an_illegal_instruction_in_bfloat16_on_amx_is_told(amx: bool, dtype: str, tells: bool) -> None:
    log = (
        f"(EngineCore pid=7) INFO 11-30 03:46:18 [core.py:1] Initializing a V1 LLM engine: "
        f"dtype=torch.{dtype}, device_config=cpu"
    )
    found = of(*engine(log, "Fatal Python error: Illegal instruction"), amx=amx)
    assert found.code == "illegal-instruction"
    assert ("AMX" in found.sentence) == tells
    assert "dtype: float32" in found.fix


def test_what_was_wrong_before_it_served_is_not_why_it_died() -> None:
    """vLLM serves with a chat template that it could not compile, and says so as an error."""
    early = engine(
        "(APIServer pid=7) ERROR 11-30 03:46:18 [hf.py:486] jinja2.exceptions.TemplateSyntaxError: unexpected end"
    )
    started = "systemd[1]: Started steelyard-vllm@broken.service - steelyard vLLM service broken."
    died = "systemd[1]: steelyard-vllm@broken.service: Main process exited, code=exited, status=1/FAILURE"
    assert of(*early, died).code == "chat-template"
    assert of(*early, started, died).code == "unknown"


def test_the_last_start_that_failed_is_judged_and_one_that_was_stopped_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, good = f"systemd[1]: Starting {UNIT} - x", f"systemd[1]: Started {UNIT} - x"
    failed = [
        begin,
        *engine("vllm: error: unrecognized arguments: --first"),
        f"systemd[1]: {UNIT}: Failed with result 'exit-code'.",
    ]
    again = [line.replace("first", "second") for line in failed]
    stopped = [begin, good, f"systemd[1]: Stopping {UNIT} - x", f"systemd[1]: {UNIT}: Deactivated successfully."]
    monkeypatch.setattr(evidence, "_output", lambda words: "")
    found = evidence.of_unit(UNIT, [*failed, *again, *stopped, begin, good])
    assert found is not None
    assert "`second`" in found.sentence
    assert evidence.of_unit(UNIT, stopped) is None
    ended = [line for line in stopped if "Stopping" not in line]
    assert "exit status 0" in str(evidence.of_unit(UNIT, ended))


def test_of_a_service_that_is_well_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_output", lambda words: pytest.fail(f"asked {words}"))
    assert evidence.of_service("chat", {"ActiveState": "active", "Result": "success", "NRestarts": "0"}) is None
    assert evidence.of_service("chat", {"ActiveState": "inactive", "Result": "success", "NRestarts": "0"}) is None
    starts = {"ActiveState": "activating", "SubState": "start-post", "Result": "success", "NRestarts": "0"}
    assert evidence.of_service("chat", starts) is None


def test_what_the_watch_killed_says_so_unless_a_process_says_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kill_log, "RECORDS", tmp_path)
    monkeypatch.setattr(evidence, "_output", lambda words: "")
    lines = [
        f"1000.000000 systemd[1]: Starting {UNIT} - x",
        f"1900.000000 systemd[1]: {UNIT}: Main process exited, code=killed, status=9/KILL",
    ]
    (tmp_path / "broken.json").write_text(json.dumps([{"at": 1899.5, "why": "no token for 180 s"}]))
    assert "the watch killed it: no token for 180 s" in str(evidence.of_unit(UNIT, lines))
    faulted = [
        lines[0],
        "1800.000000 engine-exec[7]: (EngineCore pid=7) Fatal Python error: Segmentation fault",
        lines[1],
    ]
    assert "EngineCore was killed by SIGSEGV" in str(evidence.of_unit(UNIT, faulted))
    (tmp_path / "broken.json").write_text(json.dumps([{"at": 1100, "why": "an older one"}]))
    assert "killed from outside: SIGKILL" in str(evidence.of_unit(UNIT, lines))


def test_the_kernels_word_is_taken_for_this_units_processes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def log(group: str) -> str:
        return "\n".join(
            [
                (
                    f"1500.000000 kernel: "
                    f"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg={group},task=python3,pid=71,uid=999"
                ),
                (
                    "1500.000000 kernel: Out of memory: Killed process 71 (python3) total-vm:9kB, "
                    "anon-rss:1048576kB, file-rss:0kB"
                ),
            ]
        )

    start = [
        f"1000.000000 systemd[1]: Starting {UNIT} - x",
        f"1900.000000 systemd[1]: {UNIT}: Main process exited, code=killed, status=9/KILL",
    ]
    for group, code in (
        (f"/system.slice/system-steelyard\\x2dvllm.slice/{UNIT}", "out-of-memory"),
        ("/user.slice", "killed"),
    ):
        monkeypatch.setattr(evidence, "_output", lambda words, group=group: log(group) if "--dmesg" in words else "")
        found = evidence.of_unit(UNIT, start)
        assert found is not None
        assert found.code == code


@pytest.mark.parametrize("journal", [True, False], ids=["on a host", "in a container, from the kernel's ring"])
def test_a_kill_of_the_start_before_is_not_this_ones(journal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that systemd starts again comes back within a second, in the same control group."""
    group = f"/system.slice/system-steelyard\\x2dvllm.slice/{UNIT}"
    monkeypatch.setattr("time.time", lambda: 2000.0)
    monkeypatch.setattr("time.clock_gettime", lambda clock: 500.0)

    def log(at: float) -> str:
        stamp = f"{at:.6f} kernel: " if journal else f"[{at - 1500:12.6f}] "
        return "\n".join(
            stamp + text
            for text in (
                f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task_memcg={group},task=python3,pid=4071,uid=999",
                (
                    "Memory cgroup out of memory: Killed process 4071 (python3) total-vm:9kB, anon-rss:6144kB, "
                    "file-rss:0kB"
                ),
            )
        )

    start = [
        f"1600.000000 systemd[1]: Starting {UNIT} - x",
        "1600.400000 python3[71]: ValueError: something else",
        f"1600.500000 systemd[1]: {UNIT}: Main process exited, code=exited, status=1/FAILURE",
        f"1600.600000 systemd[1]: {UNIT}: Failed with result 'exit-code'.",
    ]
    for at, out_of_memory in ((1599.3, False), (1600.2, True)):
        told = "--dmesg" if journal else "dmesg"
        monkeypatch.setattr(evidence, "_output", lambda words, at=at, told=told: log(at) if told in words else "")
        found = evidence.of_unit(UNIT, start)
        assert found is not None
        assert (found.code == "out-of-memory") == out_of_memory


def test_memory_of_a_control_group_in_both_hierarchies(tmp_path: Path) -> None:
    second = tmp_path / "a.slice/x.service"
    second.mkdir(parents=True)
    (second / "memory.peak").write_text("700\n")
    (second / "memory.max").write_text("max\n")
    assert evidence.memory_of("0::/a.slice/x.service\n", tmp_path) == (700, 0)
    (second / "memory.max").write_text("900\n")
    assert evidence.memory_of("0::/a.slice/x.service\n", tmp_path) == (700, 900)
    first = tmp_path / "memory/x.service"
    first.mkdir(parents=True)
    (first / "memory.max_usage_in_bytes").write_text("800\n")
    (first / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert evidence.memory_of("0::/a.slice/x.service\n4:memory:/x.service\n3:cpuset:/\n", tmp_path) == (800, 0)
    assert evidence.memory_of("0::/gone\n", tmp_path) == (0, 0)


def test_the_first_line_of_a_failed_task_is_the_cause_and_its_log_is_for_verbose() -> None:
    cause = {
        "service": "chat",
        "code": "option-unknown",
        "sentence": "no option `x`",
        "fix": "take it out",
        "process": "engine",
    }
    words = ["vllm: error: unrecognized arguments: --x", evidence.MARK + json.dumps(cause)]
    error = engine_failed("gpu-1", "vllm | Run the service", words)
    assert error is not None
    assert error_lines([(error, words[:1])]) == [
        "error: gpu-1: service chat: no option `x`",
        "  fix: take it out; then `steelyard apply --resume` goes on from there",
    ]
    assert error_lines([(error, words[:1])], verbose=True)[2:] == ["gpu-1: | vllm: error: unrecognized arguments: --x"]
    assert engine_failed("gpu-1", "other", ["plain words"]) is None
    for broken in ('{"service": "chat", "sent', "[]", "null", '"x"', '{"service": "chat"}'):
        assert engine_failed("gpu-1", "other", [evidence.MARK + broken]) is None
    other = TaskFailed(where="gpu-1", task="t", ended="exit 1", command="`x`", mend="look")
    assert error_lines([(other, ["plain words"])])[0] == "gpu-1: | plain words"


def test_status_shows_causes_below_its_table() -> None:
    cause = Cause("c", "why", "mend it", "engine")
    alone = ServiceStatus("a", "a.service", ServiceState.ACTIVE, "running", "", "success", 0, None, {})
    services = (
        alone,
        alone._replace(name="b", state=ServiceState.FAILED, cause=cause),
        alone._replace(name="c", cause=cause),
    )
    assert cause_lines({"gpu-1": HostStatus({}, services), "gpu-2": None}) == [
        "",
        "gpu-1: b: why",
        "  fix: mend it",
        "",
        "gpu-1: c: before it was started again: why",
        "  fix: mend it",
    ]


@pytest.mark.parametrize("rule", [*STEPS, *SAID], ids=lambda rule: rule.pattern.pattern[:40])
def test_every_rule_can_be_filled(rule: diagnosis.Rule) -> None:
    """With groups that the pattern has, and with those only."""
    names = {name.rstrip("0123456789") for name in rule.pattern.groupindex}
    for text in (rule.sentence, rule.fix):
        assert "{" not in text.format(**dict.fromkeys(names, "x")).replace("{dtype", "").replace("{enforce-eager", "")


def test_codes_are_words_with_hyphens() -> None:
    codes = {rule.code for rule in (*STEPS, *SAID)} | set(OTHERS)
    assert all(code.replace("-", "").isalpha() and code.islower() for code in codes)


def test_a_line_that_is_none_of_the_journals_is_passed_over() -> None:
    assert said.processes(["", "-- No entries --", "s checkpoint shards: 0%"]) == []


ABORTED = [
    f"systemd[1]: {UNIT}: Main process exited, code=dumped, status=6/ABRT",
    f"systemd[1]: {UNIT}: Failed with result 'core-dump'.",
]


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (["CUDA error: out of memory", "ggml-cuda.cu:88: CUDA error"], "gpu-out-of-memory", "CUDA out of memory"),
        (
            ["ggml.c:9: GGML_ASSERT(n <= 4) failed"],
            "aborted",
            "aborted itself (SIGABRT): ggml.c:9: GGML_ASSERT(n <= 4) failed",
        ),
        (
            ["terminate called after throwing an instance of 'x'", "  what():  no room"],
            "aborted",
            "(SIGABRT): what():  no room",
        ),
        ([], "aborted", "the engine's first process aborted itself (SIGABRT)"),
    ],
)
def test_what_aborts_itself_has_said_why(said: list[str], code: str, words: str) -> None:
    """llama.cpp ends so after each error of CUDA."""
    found = of(*engine(*said), *ABORTED)
    assert found.code == code
    assert found.sentence.endswith(words)


def test_of_several_processes_that_signals_ended_the_first_is_named_and_not_those_that_were_told_to_end() -> None:
    failed = (
        "Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_DP0': -15, "
        "'EngineCore_DP1': -9}"
    )
    assert of(*engine("Traceback (most recent call last):", "  File x", f"RuntimeError: {failed}")).sentence.startswith(
        "EngineCore_DP1 was killed from outside: SIGKILL"
    )


def test_what_a_terminal_would_obey_is_in_no_cause() -> None:
    found = of(*engine("\x1b[31mValueError\x1b[0m: \x1b]0;title\x07\x1b[2J\x00 no \x08use: an error"))
    assert found.sentence == "ValueError:  no use: an error"
