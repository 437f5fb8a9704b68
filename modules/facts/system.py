"""Distribution, kernels and Secure Boot of a host; one exec. Source: os-release, /lib/modules, efivars, dpkg or rpm."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from steelyard.hardware.distros import family


@dataclass(frozen=True)
class Kernel:
    """An installed kernel; `headers`: its build files are there, so DKMS can build for it."""

    release: str
    headers: bool


@dataclass(frozen=True)
class SystemState:
    """`like` is debian or rhel. `release` is the major version, as in 12 or 24.04. `image_metas` pull in new
    kernels.
    """

    distro: str
    release: str
    like: str
    arch: str
    codename: str = ""
    kernel: str = ""
    kernels: tuple[Kernel, ...] = ()
    image_metas: tuple[str, ...] = ()
    secure_boot: bool = False
    key_enrolled: bool | None = None  # DKMS's signing key; None: nobody can say
    container: bool = False


def parse_system(lines: list[str]) -> SystemState:
    """`key=value` lines to a state. Raises FactProcessError."""
    try:
        pairs = [line.split("=", 1) for line in lines if "=" in line]
        values = {key: value.strip('"') for key, value in pairs}
        distro = values["ID"]
        like = "rhel" if family(distro) == "rhel" else "debian"
        kernels = tuple(Kernel(value.split()[0], value.endswith(" yes")) for key, value in pairs if key == "module")
        enrolled = {"yes": True, "no": False}.get(values.get("mok", ""))
        release = values.get("VERSION_ID", "")
        return SystemState(
            distro,
            release.split(".")[0] if like == "rhel" else release,
            like,
            values["arch"],
            values.get("VERSION_CODENAME", ""),
            values["kernel"],
            kernels,
            tuple(sorted(values.get("metas", "").split())),
            values.get("secure_boot") == "1",
            enrolled,
            values.get("container", "none") != "none",
        )
    except (KeyError, IndexError) as error:
        raise FactProcessError(f"system: cannot read {lines}") from error


class System(FactBase[SystemState]):
    """Facts that decide which packages a host needs."""

    def command(self) -> StringCommand:
        kernels = (
            "for k in /lib/modules/*/; do k=${k%/}; test -e $k/modules.dep || test -d $k/kernel || continue;"
            " h=no; test -e $k/build/include && h=yes; echo module=${k##*/} $h; done"
        )
        metas = (
            "echo metas=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' 'linux-image-*' 2>/dev/null | "
            "grep '^ii' | cut -d' ' -f2- | grep -v 'linux-image-[0-9]' | tr '\\n' ' ')"
        )
        secure = (
            'f=$(ls /sys/firmware/efi/efivars/SecureBoot-* 2>/dev/null | head -1); test -n "$f" && echo '
            "secure_boot=$(od -An -tu1 -j4 -N1 $f | tr -d ' ')"
        )
        key = (
            "for k in /var/lib/dkms/mok.pub /var/lib/shim-signed/mok/MOK.der; do test -f $k && command -v "
            "mokutil >/dev/null &&"
            " { mokutil --test-key $k 2>/dev/null | grep -q 'already enrolled' && echo mok=yes || echo "
            "mok=no; break; }; done"
        )
        about = (
            "grep -E '^(ID|VERSION_ID|VERSION_CODENAME)=' /etc/os-release; echo arch=$(uname -m); echo "
            "kernel=$(uname -r)"
        )
        inside = "echo container=$(systemd-detect-virt --container 2>/dev/null || true)"
        return StringCommand("; ".join([about, inside, kernels, metas, secure, key, "true"]))

    def process(self, output: list[str]) -> SystemState:
        return parse_system(output)

    @staticmethod
    def default() -> SystemState:
        return SystemState("", "", "debian", "x86_64")
