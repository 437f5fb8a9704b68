"""Rules for what engines say when they cannot start or go on, and what mends each: one rule a kind of failure, the more
particular first.

Words of vLLM 0.32 and 0.33, torch, safetensors, huggingface_hub, llama.cpp, and systemd. `sentence` and `fix` are
filled from the pattern's named groups; keys of models.yml are those of the service's `serve`.
"""

from __future__ import annotations

from steelyard_host.causes.file_rules import FILES, VERIFY
from steelyard_host.causes.gpu_rules import GPUS
from steelyard_host.causes.option_rules import OPTIONS
from steelyard_host.causes.rule import rule as _rule

REINSTALL = (
    "remove its folder below /opt/steelyard/engines and `steelyard apply`, which installs it anew from the "
    "mirror's lock"
)


SAID = (
    *OPTIONS,
    *GPUS,
    *FILES,
    # what the engine itself needs
    _rule(
        "library-old",
        r"version `(?P<library>(?:GLIBC|GLIBCXX|CXXABI)_[\w.]+)' not found",
        "the engine is built for a newer system than this host has: `{library}` is missing",
        (
            "collect its wheels for this host's glibc, `steelyard wheels plan`, or set another "
            "`serve.engine_version` in models.yml"
        ),
    ),
    _rule(
        "package-broken",
        r"(?P<library>[\w.+-]+\.so[\w.]{0,20}): undefined symbol: (?P<symbol>\S+)",
        "libraries of the engine's environment do not belong together: `{library}` lacks `{symbol}`",
        REINSTALL,
    ),
    _rule(
        "package-broken",
        (
            r"(?P<library>lib(?:cud(?:art|nn)|cublas|cufft|cufile|cupti|curand|cusolver|cusparse|nccl|nvrtc|nvJitLink|"
            r"nvshmem)[\w.]*): cannot open shared object file"
        ),
        "the engine's environment lacks the CUDA library `{library}`, which its wheels bring",
        REINSTALL,
    ),
    _rule(
        "library-missing",
        (
            r"\b(?P<library>lib[\w.+-]{1,80}): cannot open shared object file|OSError: "
            r"(?P<library2>lib[\w+-]{1,80}\.so[\w.]{0,30})"
        ),
        "the library `{library}` is missing",
        (
            "add its Debian package to the engine's `packages` (`vllm.packages`, `llamacpp.packages`) and "
            "`steelyard apply`"
        ),
    ),
    _rule(
        "package-broken",
        (
            r"ModuleNotFoundError: No module named '(?P<module>[^']*)'|\w+ requires the (?P<module2>[\w.-]+) "
            r"library but it was not found"
        ),
        "the engine's environment lacks the Python module `{module}`",
        REINSTALL,
    ),
    _rule(
        "package-broken",
        r"ImportError: (?P<why>[^\n]*)",
        "the engine's environment cannot be imported: {why}",
        REINSTALL,
    ),
    _rule(
        "compiler-missing",
        r"fatal error: (?P<file>[\w./+-]+\.h(?:pp)?): No such file or directory",
        "the engine wants to compile, and the host lacks the header `{file}`",
        (
            "set `serve.options: {{enforce-eager: true}}` in models.yml, or add its Debian package (Python.h: "
            "`python3-dev`) to `vllm.packages`"
        ),
    ),
    _rule(
        "compiler-missing",
        r"Could not find (?P<tool>nvcc)|No such file or directory: '(?P<tool2>ninja|nvcc)'",
        "the engine wants to compile kernels, and the host has no `{tool}`",
        (
            "bring the kernels with the wheels, `steelyard wheels plan` names those that are missing; or set "
            "another `attention-backend` under `serve.options`"
        ),
    ),
    _rule(
        "compiler-missing",
        (
            r"InvalidCxxCompiler|No working C\+\+ compiler|(?:g\+\+|gcc|cc)'?: (?:not found|No such "
            r"file)|Failed to find C compiler"
        ),
        "the engine wants to compile, and the host has no C++ compiler (`g++`)",
        "set `serve.options: {{enforce-eager: true}}` in models.yml, or add `g++` to `vllm.packages`",
    ),
    _rule(
        "address-taken",
        r"[Aa]ddress already in use|EADDRINUSE|Errno 98|Is a directory: '[^'\n]*engine\.sock'",
        "the engine's socket or port is taken by another process",
        "see who has it: `ss -xlp` and `ss -ltnp` on the host; ports are said by `serve.port` in models.yml",
    ),
    _rule(
        "disk-full",
        r"No space left on device[^\n]{0,20}'/dev/shm/",
        "the host's shared memory, /dev/shm, is full",
        "see what lies there, `df -h /dev/shm` and `ls -l /dev/shm`: engines that were killed may have left theirs",
    ),
    _rule(
        "disk-full",
        r"No space left on device|Errno 28",
        "a disk of the host is full",
        "make room, `df -h`; versions that nobody uses go with `steelyard models prune`",
    ),
    _rule(
        "config-broken",
        r"yaml\.\w+\.\w+Error: (?P<why>[^\n]*)|Error parsing (?:the )?config|Config file[^\n]*(?:must|invalid)",
        "the engine's config file in /etc/steelyard/services cannot be read: {why}",
        "`steelyard apply` writes it from models.yml; nobody else may",
    ),
    _rule(
        "start-timed-out",
        r"Timed out waiting for engine core processes to start[^\n]*?Waited (?P<lasted>\d+)s",
        "the engine core was not ready within {lasted} s (`VLLM_ENGINE_READY_TIMEOUT_S`)",
        "raise `VLLM_ENGINE_READY_TIMEOUT_S` under `serve.environment` in models.yml, or see why it is slow",
    ),
    # last, because they fit much
    _rule(
        "file-missing",
        (
            r"(?:FileNotFoundError|No such file or directory)[^\n]*?[: "
            r"]'?(?P<file>/[^'\s\"]+)|(?:cannot|failed to) open (?:file )?'?(?P<file2>/[^'\n:]+)"
        ),
        "{file} is missing, or may not be read",
        VERIFY,
    ),
)
