"""Rules for what engines say of memory and GPUs, and what mends each: part of `rules`, whose order these keep."""

from __future__ import annotations

from steelyard_host.causes.rule import rule as _rule

GPUS = (
    # memory
    _rule(
        "gpu-out-of-memory",
        (
            r"CUDA out of memory\. Tried to allocate (?P<tried>[\d.]+ \w+)\. GPU (?P<gpu>\d+) has a total "
            r"capacity of (?P<total>[\d.]+ \w+) of which (?P<free>[\d.]+ \w+) is free"
        ),
        "CUDA out of memory: {tried} were asked of GPU {gpu}, {free} of its {total} are free",
        (
            "lower `serve.gpu_memory_utilization` or `serve.max_model_len` in models.yml, or give it more GPUs "
            "(`serve.tensor_parallel_size`)"
        ),
    ),
    _rule(
        "gpu-out-of-memory",
        r"CUDA out of memory occurred when warming up \w+ with (?P<found>\d+) dummy requests",
        "CUDA out of memory: {found} requests at once have no room",
        "lower `max-num-seqs` under `serve.options`, or `serve.gpu_memory_utilization`, in models.yml",
    ),
    _rule(
        "gpu-out-of-memory",
        r"allocating (?P<tried>[\d.]+ MiB) on device (?P<gpu>\d+): cudaMalloc failed: out of memory",
        "CUDA out of memory: {tried} were asked of GPU {gpu}",
        "lower `n_gpu_layers` or `n_parallel` under `serve.options`, or `serve.max_model_len`, in models.yml",
    ),
    _rule(
        "gpu-out-of-memory",
        r"CUDA out of memory|CUDA error: out of memory|cudaMalloc failed: out of memory",
        "CUDA out of memory",
        (
            "lower `serve.gpu_memory_utilization` or `serve.max_model_len` in models.yml, or give it more GPUs "
            "(`serve.tensor_parallel_size`)"
        ),
    ),
    _rule(
        "gpu-memory-taken",
        (
            r"Free memory on device (?P<gpu>\S+) \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less "
            r"than desired \w+ memory utilization \((?P<share>[\d.]+), (?P<wanted>[\d.]+) GiB\)"
        ),
        (
            "{wanted} GiB were asked of device {gpu} (`gpu_memory_utilization` {share}), and {free} of its "
            "{total} GiB are free"
        ),
        "find who has the rest (`nvidia-smi`), or lower `serve.gpu_memory_utilization` in models.yml",
    ),
    _rule(
        "gpu-memory-taken",
        (
            r"Error in memory profiling\. Initial free memory (?P<before>[\d.]+ \w+), current free memory "
            r"(?P<after>[\d.]+ \w+)"
        ),
        "something else used the GPU while the engine measured it: {before} were free, then {after}",
        "find who it is (`nvidia-smi`); it starts again by itself once nothing else is let go of",
    ),
    _rule(
        "gpu-busy",
        r"CUDA-capable device\(s\) is/are busy or unavailable",
        "the GPU is held by another process, or is not usable",
        "find who has it (`nvidia-smi`); `steelyard doctor --hosts` says what else is wrong with it",
    ),
    _rule(
        "memory-too-small",
        (
            r"Available memory on node (?P<node>\S+) \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\).*? less than "
            r"(?:desired CPU memory utilization|requested memory for kv) \((?:[\d.]+, )?(?P<wanted>[\d.]+)"
        ),
        "the CPU engine asks {wanted} GiB of the host's memory, and {free} of {total} GiB are free",
        (
            "lower `VLLM_CPU_KVCACHE_SPACE` under `serve.environment` or `serve.gpu_memory_utilization` (of "
            "the host's memory, on CPU) in models.yml"
        ),
    ),
    _rule(
        "cache-too-small",
        (
            r"max seq len \((?P<length>\d+)\), \(?(?P<needed>[\d.]+) GiB KV cache is needed, which is larger "
            r"than the available KV cache memory \((?P<available>[\d.]+) GiB\)(?:.*?estimated maximum model "
            r"length is (?P<most>\d+))?"
        ),
        "the KV cache is too small: a request of {length} tokens needs {needed} GiB, {available} GiB are available",
        (
            "lower `serve.max_model_len` (largest that fits: {most}), or raise `serve.gpu_memory_utilization`; "
            "on CPU `VLLM_CPU_KVCACHE_SPACE` under `serve.environment`"
        ),
    ),
    _rule(
        "cache-too-small",
        (
            r"No available memory for the cache blocks|not enough GPU memory available to serve even a single "
            r"token|leaving none for the KV cache"
        ),
        "no memory is left for the KV cache beside the weights",
        "raise `serve.gpu_memory_utilization` in models.yml, or give it more GPUs (`serve.tensor_parallel_size`)",
    ),
    _rule(
        "cache-too-small",
        r"num_gpu_blocks_override|cache blocks? (?:is|are) (?P<why>too .*)",
        "the KV cache is too small: {why}",
        "raise `serve.gpu_memory_utilization` or lower `serve.max_model_len` in models.yml",
    ),
    _rule(
        "memory-too-small",
        (
            r"(?:failed to allocate|unable to allocate)[^\n]*?buffer of size "
            r"(?P<bytes>\d+)|DefaultCPUAllocator: can't allocate memory: you tried to allocate (?P<bytes2>\d+) "
            r"bytes"
        ),
        "the host's memory does not take {bytes} bytes more",
        "lower `serve.max_model_len` (llama.cpp: times `n_parallel`) in models.yml",
    ),
    _rule(
        "memory-too-small",
        r"failed to allocate compute \w+ buffers|std::bad_alloc|\bMemoryError\b|Cannot allocate memory",
        "the engine got no more memory from the host",
        "lower `serve.max_model_len` in models.yml, or what else this host serves (`vllm.memory_gib` keeps count)",
    ),
    # GPUs
    _rule(
        "no-kernel-for-gpu",
        r"no kernel image is available|sm_(?P<capability>\d+) is not compatible",
        "this build of the engine has no kernel for this GPU",
        (
            "set `serve.engine_version` in models.yml to a version that is built for it; `steelyard doctor "
            "--hosts` names the GPU"
        ),
    ),
    _rule(
        "gpu-driver",
        r"NVML/RM version mismatch|LibRmVersionMismatch|Driver/library version mismatch|Error 803: ",
        "the NVIDIA driver's libraries and its kernel module are of different versions",
        (
            "reboot the host, so that the module that belongs to the libraries is loaded; `steelyard doctor "
            "--hosts` shows both"
        ),
    ),
    _rule(
        "gpu-driver",
        (
            r"NVMLError_DriverNotLoaded|NVMLError_LibraryNotFound|"
            r"(?P<library>lib(?:cuda|nvidia-ml)\.so[\w.]{0,12}): cannot open shared object file"
        ),
        "the NVIDIA driver is not there, or its module is not loaded",
        (
            "`steelyard apply` installs it (`nvidia_driver`); on a host without GPUs the mirror must hold the "
            "engine's CPU build"
        ),
    ),
    _rule(
        "gpu-fabric",
        r"Error 802: |CUDA error: system not yet initialized",
        "the GPUs' NVLink fabric is not up: CUDA is not yet initialized",
        (
            "see nvidia-fabricmanager on the host, `systemctl status nvidia-fabricmanager`; `steelyard doctor "
            "--hosts` checks it"
        ),
    ),
    _rule(
        "gpu-driver",
        r"PTX was compiled with an unsupported toolchain",
        "the NVIDIA driver is too old for this engine's CUDA: it cannot compile its kernels (PTX)",
        (
            "raise `nvidia_driver.version`, or take an engine built for an older CUDA (`serve.engine_version` "
            "in models.yml)"
        ),
    ),
    _rule(
        "gpu-driver",
        r"NVIDIA driver on your system is too old|driver version is insufficient",
        "the NVIDIA driver is too old for this engine's CUDA",
        (
            "raise `nvidia_driver.version`, or take an engine built for an older CUDA (`serve.engine_version` "
            "in models.yml)"
        ),
    ),
    _rule(
        "gpu-missing",
        r"No CUDA GPUs are available|Failed to infer device type|no CUDA-capable device|Found no NVIDIA driver",
        "the engine sees no GPU",
        "`steelyard doctor --hosts`; on a host without GPUs the mirror must hold the engine's CPU build",
    ),
    _rule(
        "gpu-fault",
        (
            r"CUDA error: (?P<why>an illegal (?:memory access|instruction|barrier)|misaligned address|hardware "
            r"stack error|the launch timed out|unspecified launch failure|uncorrectable (?:ECC|NVLink) "
            r"error|device-side assert)|NVMLError_(?P<why2>GpuIsLost)|(?P<why3>CUDA unknown error)"
        ),
        "the GPU failed: {why}",
        "see `steelyard doctor --hosts` for an Xid and what it asks",
    ),
    _rule(
        "nccl",
        (
            r"Watchdog caught collective operation timeout(?:[^\n]*?OpType=(?P<op>\w+))?(?:[^\n]*?ran for "
            r"(?P<lasted>\d+) milliseconds)?"
        ),
        "the GPUs of the service waited for each other in vain: an NCCL operation timed out ({op}, {lasted} ms)",
        (
            "`steelyard doctor --hosts` names links and GPUs that are down; `NCCL_DEBUG: INFO` under "
            "`serve.environment` tells more"
        ),
    ),
    _rule(
        "worker-silent",
        r"RPC call to (?P<op>\w+) timed out",
        "a worker of the engine gave no answer: `{op}` timed out",
        (
            "`steelyard doctor --hosts` says whether a GPU or a link is down; if none is, set another "
            "`serve.engine_version`"
        ),
    ),
    _rule(
        "nccl",
        r"NCCL[^\n]*?Cuda failure (?:\d+ )?'(?P<why>[^'\n]+)'",
        "the GPUs of the service cannot be joined: NCCL got `{why}` from CUDA",
        "out of memory: lower `serve.gpu_memory_utilization` in models.yml; else see `steelyard doctor --hosts`",
    ),
    _rule(
        "nccl",
        (
            r"NCCL error(?: in: [^\s,]{1,200},|:) "
            r"(?P<why>[^\n]{1,160})|ncclSystemError|ncclInternalError|ncclUnhandledCudaError"
        ),
        "the GPUs of the service do not reach each other: NCCL says {why}",
        "`steelyard doctor --hosts` names links that are down; `NCCL_DEBUG: INFO` under `serve.environment` tells more",
    ),
)
