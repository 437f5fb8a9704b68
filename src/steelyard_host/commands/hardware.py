"""Commands of what the host is made of: GPUs and their settings, disk and links, what a registry gives."""

from __future__ import annotations

import sys

from steelyard_host.commands import Add, Arguments
from steelyard_host.commands.lazy_modules import evidence, gpu, machine, registry


def register(add: Add) -> None:
    _gpus(add)
    _measurements(add)


def _gpus(add: Add) -> None:
    def settle(args: Arguments) -> int:
        refused = gpu.settle(args.gpu, dict(word.split("=", 1) for word in args.settings))
        print("\n".join(refused), file=sys.stderr)
        return 1 if refused else 0

    def usable(args: Arguments) -> int:
        reasons = gpu.unusable(args.uuids.split(","), {int(number) for number in args.xids.split(",")})
        print("\n".join(reasons) or "its GPUs are usable")
        return 1 if reasons else 0

    add("memory", "memory of GPUs and of the host", lambda _: gpu.memory())
    add("gpu-health", "GPUs by NVML, the PCI bus and the kernel log", lambda _: gpu.health())
    add(
        "doctor",
        "the same, and why services of this host do not run",
        lambda _: {**gpu.health(), "services": evidence.of_services()},
    )
    settings = add(
        "gpu-settings", "set GPUs: persistence, power_limit, clocks, compute_mode, ecc, mig, mig_layout", settle
    )
    settings.add_argument("--gpu", type=int)
    settings.add_argument("settings", nargs="+", metavar="NAME=VALUE")
    check = add("gpu-usable", "whether a service may start on its GPUs", usable)
    check.add_argument("xids", help="numbers after which a GPU is not to be used, by commas")
    check.add_argument("uuids", help="GPUs of the service, by commas")


def _measurements(add: Add) -> None:
    hardware = add("hardware", "what this host is made of", lambda args: machine.read(args.path, args.names))
    hardware.add_argument("path")
    hardware.add_argument("names", nargs="*")
    disk = add("disk", "how fast the disk reads, by fio", lambda args: machine.disk(args.path, args.seconds))
    disk.add_argument("path")
    serve = add(
        "link-serve",
        "serve one measurement of a link, by iperf3",
        lambda args: machine.serve(args.port, args.seconds),
    )
    link = add(
        "link",
        "measure a link to a host that serves",
        lambda args: machine.link(args.address, args.port, args.seconds),
    )
    link.add_argument("address")
    for command in (serve, link):
        command.add_argument("port", type=int)
    for command in (disk, serve, link):
        command.add_argument("seconds", type=float)
    image = add(
        "registry-probe",
        "whether a registry serves an image, and how fast",
        lambda args: registry.probe(args.url, args.image),
    )
    image.add_argument("url")
    image.add_argument("image")
