"""Measures how fast this host's engine loads a version: its own loaders, each byte into the model, cold and warm, in
turns.

Runs in the engine's environment, in a sandbox, and never beside `steelyard` itself. Each sample is a process of its
own, forked after the imports; with tensor parallelism one process per rank, and the slowest counts. A JSON object a
line:

    {"engine", "torch", "device", "ranks", "strategies"}             first
    {"strategy", "cache": "cold"|"warm", "seconds"} or {..., "error"}
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

STEP = 4 << 20
SHARD = 1 << 30  # bytes of a file of a sharded variant
SHARDED = {"load_format": "sharded_state"}
# of the server, or ours; and how weights are read, which is what is measured: a choice of before must not become the
# default
LEFT_OUT = ("uds", "host", "port", "api_key", "served_model_name", "shutdown_timeout", "config", "model", "load_format")
LEFT_OUT_KINDS = ("safetensors_", "model_loader_")


def strategies(cuda: bool) -> dict[str, dict[str, Any]]:
    """Name -> engine options, of those that this engine and device have. `default` first: the others are compared with
    it.
    """
    known: dict[str, dict[str, Any]] = {
        "default": {},
        "prefetch-2": {"safetensors_load_strategy": "prefetch", "safetensors_prefetch_num_threads": 2},
        "prefetch-8": {"safetensors_load_strategy": "prefetch", "safetensors_prefetch_num_threads": 8},
        "multithread-4": {"model_loader_extra_config": {"enable_multithread_load": True, "num_threads": 4}},
        "eager": {"safetensors_load_strategy": "eager"},
    }
    if find_spec("runai_model_streamer"):
        known["runai"] = {"load_format": "runai_streamer", "model_loader_extra_config": {"concurrency": 8}}
    if cuda and find_spec("fastsafetensors"):
        known["fastsafetensors"] = {"load_format": "fastsafetensors"}
    if cuda and find_spec("instanttensor"):
        known["instanttensor"] = {"load_format": "instanttensor"}
    return known


def forget(files: list[Path]) -> None:
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def read_all(files: list[Path]) -> None:
    buffer = bytearray(STEP)
    for path in files:
        with path.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass


def load(
    folder: Path,
    base: dict[str, Any],
    options: dict[str, Any],
    rank: int,
    ranks: int,
    meet: str,
    save: Path | None = None,
) -> float:
    """Seconds that the engine's loader takes for this rank's part of the model; which is then saved, where that is
    asked for.

    It is saved as it was loaded, before the engine repacks it for its kernels: that is what a load of it is followed
    by.
    """
    import torch
    from vllm.config import set_current_vllm_config
    from vllm.distributed import init_distributed_environment, initialize_model_parallel
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import get_model_loader
    from vllm.utils.torch_utils import set_default_torch_dtype

    arguments = {**base, **options, "model": str(folder), "tensor_parallel_size": ranks, "enforce_eager": True}
    known = EngineArgs.__dataclass_fields__
    config = EngineArgs(**{name: value for name, value in arguments.items() if name in known}).create_engine_config()
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(rank)
    with set_current_vllm_config(config):
        init_distributed_environment(ranks, rank, f"file://{meet}", rank, "nccl" if cuda else "gloo")
        initialize_model_parallel(ranks)
        loader = get_model_loader(config.load_config)
        with set_default_torch_dtype(config.model_config.dtype), torch.device(f"cuda:{rank}" if cuda else "cpu"):
            model = loader.create_model(vllm_config=config, model_config=config.model_config)
        if not cuda:  # memory that is there before, as a GPU's is: the first touch of a page is no part of loading
            for parameter in model.parameters():
                parameter.data.zero_()
        gc.collect()
        torch.distributed.barrier()
        began = time.perf_counter()
        with set_default_torch_dtype(config.model_config.dtype):
            loader.load_weights(model, config.model_config)
        if cuda:
            torch.cuda.synchronize()
        took = time.perf_counter() - began
        if save is not None:
            from vllm.model_executor.model_loader.sharded_state_loader import ShardedStateLoader

            ShardedStateLoader.save_model(model, str(save), max_size=SHARD)
            torch.distributed.barrier()
        return took


def sample(
    folder: Path, base: dict[str, Any], options: dict[str, Any], ranks: int, save: Path | None = None
) -> dict[str, Any]:
    """One load by as many processes as there are ranks; the slowest of them."""
    with tempfile.TemporaryDirectory() as made:
        children = []
        for rank in range(ranks):
            receive, send = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(receive)
                _child(send, functools.partial(load, folder, base, options, rank, ranks, f"{made}/meet", save))
            os.close(send)
            children.append((child, receive))
        samples = []
        for child, receive in children:
            with os.fdopen(receive, "rb") as stream:
                said = stream.read()
            _, status = os.waitpid(child, 0)
            samples.append(json.loads(said) if said else {"error": f"ended with {os.waitstatus_to_exitcode(status)}"})
    errors = [rank for rank in samples if "error" in rank]
    return errors[0] if errors else {"seconds": max(rank["seconds"] for rank in samples)}


def _child(send: int, work: Callable[[], float]) -> None:
    try:
        said: dict[str, Any] = {"seconds": work()}
    except BaseException as error:
        traceback.print_exc()
        said = {"error": (f"{type(error).__name__}: {error}".splitlines() or ["?"])[0][:200]}
    os.write(send, json.dumps(said).encode())
    os._exit(0)


def base_options(config: Path | None) -> dict[str, Any]:
    """The service's own engine options, from its configuration file, without those of the server and of loading."""
    if config is None:
        return {}
    import yaml

    declared = yaml.safe_load(config.read_text()) or {}
    named = {name.replace("-", "_"): value for name, value in declared.items()}
    return {
        name: value for name, value in named.items() if name not in LEFT_OUT and not name.startswith(LEFT_OUT_KINDS)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", type=Path, help="of the service")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", default="", help="only these besides the default, with commas")
    parser.add_argument("--sharded", type=Path, help="the same version, sharded for these ranks: another row")
    parser.add_argument("--save", type=Path, help="measure nothing: shard the version for these ranks into this folder")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the engine prints what it likes
    import torch
    import vllm

    cuda = torch.cuda.is_available()
    import vllm.engine.arg_utils
    import vllm.model_executor.model_loader

    known = {**strategies(cuda), **({"sharded": SHARDED} if given.sharded else {})}
    if given.ways:
        known = {name: options for name, options in known.items() if name in ("default", *given.ways.split(","))}
    device = torch.cuda.get_device_name(0) if cuda else "cpu"
    head = {
        "engine": vllm.__version__,
        "torch": torch.__version__,
        "device": device,
        "ranks": given.ranks,
        "strategies": known,
    }
    out.write(json.dumps(head) + "\n")
    base = base_options(given.config)
    if given.save is not None:
        measured = sample(given.folder, base, {}, given.ranks, given.save)
        out.write(json.dumps({"strategy": "default", "cache": "warm", **measured}) + "\n")
        return 1 if "error" in measured else 0
    for turn in range(given.repeats):
        names = list(known)[:: 1 if turn % 2 == 0 else -1]
        for cache in ("cold", "warm"):
            for name in names:
                folder = given.sharded if name == "sharded" else given.folder
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                (forget if cache == "cold" else read_all)(files)
                measured = sample(folder, base, known[name], given.ranks)
                out.write(json.dumps({"strategy": name, "cache": cache, **measured}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
