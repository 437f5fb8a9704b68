"""MIG: how a GPU is cut into instances, read and made through NVML.

A layout is the names of its instances as NVIDIA writes them (`3g.40gb`), without an order. Each GPU instance has one
compute instance that fills it; one that has none counts as `3g.40gb (empty)`, so that it differs from what was
declared.
"""

from __future__ import annotations

from typing import Any


class LayoutWrong(Exception):
    """The GPU cannot be cut so, or not now; a sentence."""


def profiles(pynvml: Any, handle: Any) -> dict[str, Any]:
    """Name -> profile of the instances that this GPU can have, the largest first."""
    by_name: dict[str, Any] = {}
    for number in range(pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            profile = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(handle, number)
        except pynvml.NVMLError as error:
            if error.value in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT):
                continue  # not one of this GPU's
            raise
        by_name[_text(profile.name).replace("MIG ", "")] = profile
    return dict(sorted(by_name.items(), key=lambda item: -item[1].sliceCount))


def layout(pynvml: Any, handle: Any) -> list[dict[str, str]] | None:
    """Each instance's profile and, where a program can use it, the UUID to give to it; None while MIG mode is off."""
    if not pynvml.nvmlDeviceGetMigMode(handle)[0]:
        return None
    uuids = _uuids(pynvml, handle)
    instances = []
    for name, profile in profiles(pynvml, handle).items():
        for instance in _instances(pynvml, handle, profile):
            number = pynvml.nvmlGpuInstanceGetInfo(instance).id
            filled = number in uuids
            instances.append({"profile": name if filled else name + " (empty)", "uuid": uuids.get(number, "")})
    return instances


def lay_out(pynvml: Any, handle: Any, wanted: list[str]) -> None:
    """Cuts the GPU anew where its layout is another. Where that fails the layout of before is made again.

    Raises LayoutWrong.
    """
    known = profiles(pynvml, handle)
    strange = [name for name in wanted if name not in known]
    if strange:
        raise LayoutWrong("no instance %s on this GPU; it has %s" % (", ".join(strange), ", ".join(known)))
    current = layout(pynvml, handle)
    if current is None:
        raise LayoutWrong("MIG mode comes with the next reset or reboot, and the layout with it")
    before = [entry["profile"] for entry in current]
    if sorted(before) == sorted(wanted):
        return
    busy = [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    if busy:
        raise LayoutWrong(
            "in use by process %s; the layout changes on an idle GPU" % ", ".join(str(pid) for pid in busy)
        )
    _clear(pynvml, handle, known)
    try:
        _make(pynvml, handle, known, wanted)
    except pynvml.NVMLError as error:
        _clear(pynvml, handle, known)
        _make(pynvml, handle, known, [name for name in before if name in known])
        raise LayoutWrong(
            "%s do not fit together: %s; the layout of before is kept" % (", ".join(wanted), error)
        ) from error


def _make(pynvml: Any, handle: Any, known: dict[str, Any], names: list[str]) -> None:
    for name in sorted(names, key=list(known).index):  # the largest first: a small one may lie where a large one must
        instance = pynvml.nvmlDeviceCreateGpuInstance(handle, known[name].id)
        whole = [profile for profile in _parts(pynvml, instance) if profile.sliceCount == known[name].sliceCount]
        pynvml.nvmlGpuInstanceCreateComputeInstance(instance, whole[0].id)


def _clear(pynvml: Any, handle: Any, known: dict[str, Any]) -> None:
    for profile in known.values():
        for instance in _instances(pynvml, handle, profile):
            for part in _parts(pynvml, instance):
                for compute in _listed(
                    pynvml.c_nvmlComputeInstance_t, pynvml.nvmlGpuInstanceGetComputeInstances, instance, part.id
                ):
                    pynvml.nvmlComputeInstanceDestroy(compute)
            pynvml.nvmlGpuInstanceDestroy(instance)


def _parts(pynvml: Any, instance: Any) -> list[Any]:
    """Profiles of compute instances that a GPU instance can have."""
    parts = []
    for number in range(pynvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
        try:
            shared = pynvml.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
            parts.append(pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, number, shared))
        except pynvml.NVMLError as error:
            if error.value not in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT):
                raise
    return parts


def _instances(pynvml: Any, handle: Any, profile: Any) -> list[Any]:
    return _listed(pynvml.c_nvmlGpuInstance_t, pynvml.nvmlDeviceGetGpuInstances, handle, profile.id)


def _listed(kind: Any, read: Any, of: Any, profile: int) -> list[Any]:
    import ctypes

    room, many = (kind * 16)(), ctypes.c_uint(16)
    read(of, profile, room, ctypes.byref(many))
    return [kind.from_buffer_copy(room[number]) for number in range(many.value)]


def _uuids(pynvml: Any, handle: Any) -> dict[int, str]:
    """GPU instance -> UUID of the device that a program sees."""
    uuids = {}
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            device = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NOT_FOUND:
                continue
            raise
        uuids[pynvml.nvmlDeviceGetGpuInstanceId(device)] = _text(pynvml.nvmlDeviceGetUUID(device))
    return uuids


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
