"""The hardware of a host, read from the kernel; and what its disk and links really do, measured for a bounded time."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from steelyard_host.wire.hardware import Disk, DiskRate, HostClock, HostHardware, Interface, LinkRate, LinkServer

FIO_BYTES = 256 << 20
ACS = 0x000D  # PCI extended capability


def read(path: str, names: list[str]) -> HostHardware:
    """The hardware, as far as it can be read without load. `path` is where models will lie; `names` should resolve."""
    usage = os.statvfs(_existing(path))
    return HostHardware(
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=_meminfo("MemTotal"),
        disks=disks(),
        raid=tuple(sorted(set(re.findall(r"\b(raid\d+|linear)\b", _text("/proc/mdstat"))))),
        storage_bytes=usage.f_blocks * usage.f_frsize,
        free_bytes=usage.f_bavail * usage.f_frsize,
        distro=_release(),
        kernel=os.uname().release,
        links=interfaces(),
        iommu=any(Path("/sys/class/iommu").glob("*")),
        acs=acs_devices(),
        secure_boot=_secure_boot(),
        clock=HostClock(time.time(), _synchronized()),
        names={name: _resolves(name) for name in names},
        tools={name: _has(name) for name in ("fio", "iperf3", "ping")},
    )


def disks() -> tuple[Disk, ...]:
    """Whole block devices that are neither loops nor parts of others."""
    whole = []
    for folder in sorted(Path("/sys/block").glob("*")):
        if folder.name.startswith(("loop", "ram", "zram", "dm-", "sr", "nbd")):
            continue
        size = int(_text(str(folder / "size")) or 0) * 512
        if size:
            rotational = _text(str(folder / "queue/rotational")).strip() == "1"
            whole.append(Disk(folder.name, size, rotational))
    return tuple(whole)


def interfaces() -> tuple[Interface, ...]:
    """Interfaces that are up: Mbit/s where the driver says it (a virtual one does not), and MTU."""
    up = []
    for folder in sorted(Path("/sys/class/net").glob("*")):
        if folder.name == "lo" or _text(str(folder / "operstate")).strip() != "up":
            continue
        speed = _text(str(folder / "speed")).strip()
        mbit = int(speed) if re.fullmatch(r"\d+", speed) else None
        up.append(Interface(folder.name, mbit, int(_text(str(folder / "mtu")) or 0)))
    return tuple(up)


def acs_devices() -> tuple[str, ...]:
    """PCI bridges that redirect peer-to-peer traffic: ACS control bits are on.

    Root sees the extended space, others nothing.
    """
    bridges = []
    for folder in sorted(Path("/sys/bus/pci/devices").glob("*")):
        if not _text(str(folder / "class")).startswith("0x0604"):
            continue
        try:
            space = (folder / "config").read_bytes()
        except OSError:
            continue
        at = 0x100
        while 0x100 <= at < len(space) - 8:
            head = int.from_bytes(space[at : at + 4], "little")
            if head & 0xFFFF == ACS and int.from_bytes(space[at + 6 : at + 8], "little") & 0x1D:
                bridges.append(folder.name)
            at = head >> 20 if head else 0
    return tuple(bridges)


def disk(path: str, seconds: float) -> DiskRate:
    """Bytes per second of a sequential O_DIRECT read by fio, of a file that is made for it and removed."""
    file = _existing(path) / ".steelyard-fio"
    command = [
        "fio",
        "--name=read",
        "--filename=%s" % file,
        "--size=%d" % FIO_BYTES,
        "--rw=read",
        "--bs=1M",
        "--direct=1",
        "--iodepth=8",
        "--ioengine=libaio",
        "--time_based",
        "--runtime=%g" % seconds,
        "--output-format=json",
        "--thinktime=0",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
        answer = json.loads(done.stdout[done.stdout.index("{") :])
        job = answer["jobs"][0]
        if job["error"]:
            return DiskRate(None, "fio: error %s" % job["error"])
        return DiskRate(job["read"]["bw_bytes"], None)
    except (OSError, ValueError, KeyError, IndexError, subprocess.TimeoutExpired) as error:
        return DiskRate(None, str(error)[:200])
    finally:
        if file.exists():
            file.unlink()


def serve(port: int, seconds: float) -> LinkServer:
    """Starts an iperf3 server for one client, that ends by itself."""
    command = ["timeout", "%g" % seconds, "iperf3", "--server", "--one-off", "--port", str(port)]
    quiet = subprocess.DEVNULL
    subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    for _ in range(100):
        if ":%04X " % port in _text("/proc/net/tcp") + _text("/proc/net/tcp6"):
            return LinkServer(None)
        time.sleep(0.05)
    return LinkServer("iperf3 does not listen on port %d" % port)


def link(address: str, port: int, seconds: float) -> LinkRate:
    """The rate of a link to a peer that serves, measured by ping and iperf3."""
    ping = subprocess.run(["ping", "-q", "-c", "5", "-i", "0.2", "-W", "2", address], stdout=subprocess.PIPE, text=True)
    times = re.search(r"= [\d.]+/([\d.]+)/", ping.stdout)
    rtt_ms = float(times.group(1)) if times else None
    mtu = max([entry.mtu for entry in interfaces()] or [1500])
    whole = ["ping", "-q", "-c", "1", "-W", "2", "-M", "do", "-s", str(mtu - 28), address]
    mtu_passes = subprocess.run(whole, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    command = [
        "iperf3",
        "--client",
        address,
        "--port",
        str(port),
        "--time",
        "%g" % seconds,
        "--json",
        "--connect-timeout",
        "5000",
    ]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=seconds + 20)
        answer = json.loads(done.stdout)
        if "error" in answer:
            return LinkRate(None, rtt_ms, mtu_passes, answer["error"])
        return LinkRate(answer["end"]["sum_received"]["bits_per_second"], rtt_ms, mtu_passes)
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        return LinkRate(None, rtt_ms, mtu_passes, str(error)[:200])


def _existing(path: str) -> Path:
    folder = Path(path)
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None))
    except OSError:
        return False


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _meminfo(key: str) -> int:
    line = re.search(r"^%s:\s+(\d+) kB" % key, _text("/proc/meminfo"), re.M)
    return int(line.group(1)) * 1024 if line else 0


def _release() -> str:
    values = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', _text("/etc/os-release"), re.M))
    return ("%s %s" % (values.get("ID", ""), values.get("VERSION_ID", ""))).strip()


def _secure_boot() -> bool:
    for path in Path("/sys/firmware/efi/efivars").glob("SecureBoot-*"):
        return path.read_bytes()[4:5] == b"\x01"
    return False


def _synchronized() -> bool | None:
    """Whether the kernel says that its clock follows another; None where nobody says."""
    command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        said = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(said)


def _has(name: str) -> bool:
    return shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") is not None
