"""Simulated packages with NVIDIA's real names, versions and dependencies; what they install says that it is
simulated.
"""

from __future__ import annotations

from .debs import Deb

VERSIONS = ("580.95.05", "580.105.08", "590.44.01")
UNSOLVABLE = "585.10.01"  # needs a library that nobody has
TOOLKITS = ("1.17.8", "1.18.0")
HOME = "/usr/lib/steelyard-lab"
LIB = "/usr/lib/x86_64-linux-gnu"
DAEMON = (
    "[Unit]\nDescription=simulated "
    "{name}\n[Service]\nExecStart={start}\nRestart=no\n[Install]\nWantedBy=multi-user.target\n"
)
# the flag lets a test interrupt dpkg as a DKMS build that fails does
BUILD = f"""\
test ! -e {HOME}/dkms-fails || {{ echo 'simulated DKMS build fails' >&2; exit 1; }}
m=/lib/modules/$(uname -r)/updates/dkms; mkdir -p $m; cp {HOME}/nvidia.ko $m/nvidia.ko"""
ENABLE = "systemctl enable --quiet {unit} || true; systemctl try-restart {unit} || true"
CTK = """\
#!/bin/sh
# simulated nvidia-ctk: writes a CDI description with the paths of the loaded driver
case "$1 $2" in
  "cdi generate")
    for word; do case $word in --output=*) out=${word#--output=};; esac; done
    v=$(grep -oE '[0-9]{3}[.][0-9.]+' /proc/driver/nvidia/version | head -1)
    test -n "$v" || { echo 'simulated: no driver is loaded' >&2; exit 1; }
    conf=/usr/lib/steelyard-lab/gpus.conf; n=$(grep -c ^gpu= $conf); mkdir -p "$(dirname "$out")"
    { echo "cdiVersion: 0.5.0"; echo "kind: nvidia.com/gpu"; echo "devices:"
      i=0; while [ $i -lt $n ]; do
        # a GPU in MIG mode is described by its instances: made minus destroyed, as the simulated NVML keeps them
        if [ "$(sed -n "s/^set=$i mig //p" $conf | tail -1)" = 1 ]; then
          m=$(( $(grep -c "^set=$i ci+" $conf) - $(grep -c "^set=$i ci-" $conf) ))
          j=0; while [ $j -lt $m ]; do
            echo "  - name: \\"$i:$j\\""; echo "    containerEdits: {env: [SIMULATED_GPU=$i:$j]}"; j=$((j+1)); done
        else echo "  - name: \\"$i\\""; echo "    containerEdits: {env: [SIMULATED_GPU=$i]}"; fi
        i=$((i+1)); done
      echo "containerEdits:"; echo "  mounts:"; f=/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.$v
      echo "    - {hostPath: $f, containerPath: $f}"; } > "$out" ;;
  "system create-dev-char-symlinks") exit 0 ;;
  *) echo "NVIDIA Container Toolkit CLI version SIMULATED" ;;
esac
"""


def driver_packages(modules: dict[str, bytes], libraries: dict[str, bytes]) -> list[Deb]:
    """Every version of the driver. `modules` maps VERSION-FLAVOUR to a file that modinfo reads, `libraries` VERSION to
    NVML.
    """
    packages = [Deb(f"nvidia-driver-pinning-{branch}", "1-1") for branch in (580, 585, 590)]
    for version in (*VERSIONS, UNSOLVABLE):
        packages += _one(version, modules, libraries)
    # the trap: a branch in the name, and no upper bound below it
    packages.append(Deb("cuda-drivers-580", "580.95.05-1", {"Depends": "nvidia-driver-cuda (>= 580.95.05-1)"}))
    return [*packages, *toolkit_packages()]


def toolkit_packages() -> list[Deb]:
    """Every version of the container toolkit: NVIDIA has it in a repository of its own and in the driver's."""
    return [deb for toolkit in TOOLKITS for deb in _toolkit(f"{toolkit}-1")]


def _one(version: str, modules: dict[str, bytes], libraries: dict[str, bytes]) -> list[Deb]:
    full, same = f"{version}-1", f"(= {version}-1)"
    module = f"nvidia-kernel-open-dkms {same} | nvidia-kernel-dkms {same}"
    needs = f"{module}, libnvidia-ml1 {same}, libcuda1 {same}"
    if version == UNSOLVABLE:
        needs += ", libnvidia-nobody-has-this (= 1)"
    packages = [Deb("nvidia-driver-cuda", full, {"Depends": needs}), Deb("libcuda1", full)]
    for name, flavour, other in (
        ("nvidia-kernel-open-dkms", "open", "nvidia-kernel-dkms"),
        ("nvidia-kernel-dkms", "proprietary", "nvidia-kernel-open-dkms"),
    ):
        files = {f"{HOME}/nvidia.ko": modules[f"{version}-{flavour}"]}
        packages.append(Deb(name, full, {"Depends": "kmod", "Conflicts": other, "Replaces": other}, files, BUILD))  # type: ignore[arg-type]
    packages.append(
        Deb(
            "libnvidia-ml1",
            full,
            {},
            {
                f"{LIB}/libnvidia-ml.so.{version}": libraries[version],
                f"{LIB}/libnvidia-ml.so.1": f"-> libnvidia-ml.so.{version}",
            },
        )
    )
    for name, start in (
        ("nvidia-persistenced", "/bin/sleep infinity"),
        ("nvidia-fabricmanager", "/bin/sleep infinity"),
    ):
        unit = f"{name}.service"
        files = {f"/lib/systemd/system/{unit}": DAEMON.format(name=name, start=start)}  # type: ignore[dict-item]
        packages.append(Deb(name, full, {}, files, ENABLE.format(unit=unit)))  # type: ignore[arg-type]
    packages.append(Deb("libnvidia-nscq", full))
    return packages


def _toolkit(full: str) -> list[Deb]:
    same = f"(= {full})"
    runtime = '#!/bin/sh\n# simulated nvidia-container-runtime\nexec runc "$@"\n'
    return [
        Deb(
            "nvidia-container-toolkit",
            full,
            {"Depends": f"nvidia-container-toolkit-base {same}, libnvidia-container-tools {same}"},
            {"/usr/bin/nvidia-container-runtime!": runtime},
        ),
        Deb("nvidia-container-toolkit-base", full, {}, {"/usr/bin/nvidia-ctk!": CTK}),
        Deb("libnvidia-container-tools", full, {"Depends": f"libnvidia-container1 {same}"}),
        Deb("libnvidia-container1", full),
    ]


def other_origin() -> list[Deb]:
    """The same names at a higher version, in a repository that says it is Debian's."""
    return [
        Deb(name, "595.99.99-1")
        for name in (
            "nvidia-driver-cuda",
            "nvidia-kernel-open-dkms",
            "libnvidia-ml1",
            "libcuda1",
            "nvidia-persistenced",
        )
    ]
