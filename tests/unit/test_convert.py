"""What `models add` makes of files: pickles converted without running them, shards of equal size with the same
tensors.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from steelyard.errors import LocalProgramMissing, SourceMissing, SourceRefused
from steelyard.models.content.safetensors import TensorInfo, tensors_of
from steelyard.models.sources import convert, unpickle
from steelyard.models.sources.convert import even
from steelyard.models.sources.resolve import resolve_version
from steelyard.site.schema import Conversion

VALUES = bytes(range(240))


def sandbox_works() -> bool:
    """Whether bwrap is installed and this user may make namespaces: in a container it often may not."""
    probe = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    return shutil.which("bwrap") is not None and subprocess.run(probe, capture_output=True).returncode == 0


needs_sandbox = pytest.mark.skipif(
    os.getuid() != 0 and not sandbox_works(), reason="bwrap cannot make a sandbox here; root runs this test everywhere"
)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


class Named:
    """Pickles as a name and nothing else, as torch's own classes do."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Writer(pickle._Pickler):
    """Writes what torch.save writes, without torch: names of its functions, storages as persistent ids."""

    def persistent_id(self, found: Any) -> Any:
        return found.pid if isinstance(found, Stored) else None

    def save(self, found: Any, *more: Any, **named: Any) -> None:
        if isinstance(found, Named):
            self.write(b"c" + found.module.encode() + b"\n" + found.name.encode() + b"\n")
        elif isinstance(found, Called):
            self.save(found.call)
            self.save(found.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(found, *more, **named)


class Stored:
    def __init__(self, kind: str, key: str, elements: int) -> None:
        self.pid = ("storage", Named("torch", kind), key, "cpu", elements)


class Called:
    def __init__(self, call: Named, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments


def tensor(
    key: str, shape: tuple[int, ...], offset: int = 0, kind: str = "FloatStorage", stride: tuple[int, ...] | None = None
) -> Called:
    if stride is None:
        step, stride = 1, ()
        for size in reversed(shape):
            stride, step = (step, *stride), step * size
    rebuild = Named("torch._utils", "_rebuild_tensor_v2")
    return Called(rebuild, Stored(kind, key, 60), offset, shape, stride, False, OrderedDict())


def checkpoint(path: Path, state: Any, data: dict[str, bytes] | None = None, top: str = "archive") -> Path:
    out = io.BytesIO()
    Writer(out, protocol=2).dump(state)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{top}/data.pkl", out.getvalue())
        for key, body in (data or {"0": VALUES}).items():
            archive.writestr(f"{top}/data/{key}", body)
    return path


def folder(tmp_path: Path, state: Any, name: str = "pytorch_model.bin") -> str:
    made = tmp_path / "source"
    made.mkdir()
    checkpoint(made / name, state)
    (made / "config.json").write_text("{}")
    return f"file://{made}"


@needs_sandbox
def test_pickle_weights_become_safetensors_with_the_same_bytes(tmp_path: Path) -> None:
    state = OrderedDict(a=tensor("0", (4, 5)), b=tensor("0", (40,), 20), c=tensor("0", (2, 1, 10), kind="HalfStorage"))
    source = folder(tmp_path, state)
    (tmp_path / "source/optimizer.pt").write_bytes(b"no weights")
    found = resolve_version("llm/x", source, "x", conversion=Conversion(convert=True), make=True)
    assert sorted(found.manifest.files) == ["config.json", "model.safetensors"]
    path = found.folder / "model.safetensors"
    read = {each.name: (each.dtype, each.shape, path.read_bytes()[each.start : each.end]) for each in tensors_of(path)}
    assert read == {
        "a": ("F32", (4, 5), VALUES[:80]),
        "b": ("F32", (40,), VALUES[80:]),
        "c": ("F16", (2, 1, 10), VALUES[:40]),
    }
    assert resolve_version("llm/x", source, "x", conversion=Conversion(convert=True)).manifest.id == found.manifest.id
    with pytest.raises(SourceRefused, match="pickle weights"):
        resolve_version("llm/x", source, "x")


@needs_sandbox
def test_types_that_the_tensor_names_and_not_its_storage(tmp_path: Path) -> None:
    rebuild = Named("torch._utils", "_rebuild_tensor_v3")
    small = Called(
        rebuild,
        Stored("UntypedStorage", "0", 240),
        4,
        (2, 3),
        (3, 1),
        False,
        OrderedDict(),
        Named("torch", "float8_e4m3fn"),
    )
    found = resolve_version(
        "llm/x", folder(tmp_path, {"a": small}), "x", conversion=Conversion(convert=True), make=True
    )
    path = found.folder / "model.safetensors"
    [read] = tensors_of(path)
    assert (read.dtype, read.shape, path.read_bytes()[read.start : read.end]) == ("F8_E4M3", (2, 3), VALUES[4:10])


@needs_sandbox
def test_several_files_and_their_index_keep_their_names(tmp_path: Path) -> None:
    made = tmp_path / "source"
    made.mkdir()
    places = {}
    for number, name in ((1, "a"), (2, "b")):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        checkpoint(made / file, {name: tensor("0", (60,))})
        places[name] = file
    (made / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    found = resolve_version("llm/x", f"file://{made}", "x", conversion=Conversion(convert=True), make=True)
    index = json.loads((found.folder / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    assert {*found.manifest.tensors} == {*index["weight_map"].values()}


HOSTILE = {
    "a command": (Called(Named("os", "system"), "touch /tmp/steelyard-owned"), "asks for `os.system`"),
    "a builtin": (Called(Named("builtins", "eval"), "1"), "asks for `builtins.eval`"),
    "torch itself": (Called(Named("torch.hub", "load"), "x", "y"), "asks for `torch.hub.load`"),
    "an attribute of what is allowed": (
        Named("collections", "OrderedDict.__init__.__globals__"),
        "asks for `collections.OrderedDict.__init",
    ),
    "no tensors": ({"a": 1}, "no dictionary of tensors"),
    "a list": ([1], "no dictionary of tensors"),
    "a tensor larger than its bytes": ({"a": tensor("0", (61,))}, "larger than its bytes"),
    "an offset behind its bytes": ({"a": tensor("0", (1,), 60)}, "larger than its bytes"),
    "a negative shape": ({"a": tensor("0", (-1,))}, "a tensor in it is none"),
    "bytes that are not there": ({"a": tensor("1", (1,))}, "has no bytes in it"),
    "a strange storage": ({"a": tensor("0", (1,), kind="EvilStorage")}, "asks for `torch.EvilStorage`"),
    "a transposed tensor": ({"a": tensor("0", (4, 5), stride=(1, 4))}, "does not lie in one piece"),
}


@needs_sandbox
@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_hostile_pickle_asks_for_is_named_and_not_done(tmp_path: Path, case: str) -> None:
    state, why = HOSTILE[case]
    with pytest.raises(SourceRefused) as told:
        resolve_version("llm/x", folder(tmp_path, state), "x", conversion=Conversion(convert=True), make=True)
    assert why in str(told.value)
    assert not Path("/tmp/steelyard-owned").exists()
    assert list((tmp_path / "XDG_CACHE_HOME/steelyard/shaped").iterdir()) == [], "nothing half-made is left"


@pytest.mark.parametrize("body", [b"", b"\x80\x02}q\x00.", b"PK\x05\x06" + bytes(18), b"not a checkpoint" * 9])
def test_what_is_no_checkpoint_is_one_sentence(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(body)
    done = subprocess.run(
        [sys.executable, "-I", unpickle.__file__, tmp_path / "x.bin", tmp_path / "out"], capture_output=True, text=True
    )
    assert (done.returncode, len(done.stderr.splitlines()), "Traceback" in done.stderr) == (1, 1, False)


@needs_sandbox
def test_the_sandbox_has_no_network_and_sees_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("")
    (tmp_path / "secret").write_text("canary")
    words = convert.sandboxed_argv(tmp_path / "in", tmp_path / "out/out.safetensors")
    (tmp_path / "out").mkdir()
    places = [str(tmp_path / "secret"), "/etc/passwd", str(Path.home() / ".ssh"), str(Path(__file__).parent)]
    program = f"import os, socket; print([os.path.exists(p) for p in {places}], [n for _, n in socket.if_nameindex()])"
    at = words.index("/unpickle.py", words.index("-I"))
    done = subprocess.run([*words[:at], "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[False, False, False, False] ['lo']\n"), done.stderr


def test_without_the_sandbox_nothing_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path, {"a": tensor("0", (60,))})
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(LocalProgramMissing, match="`bwrap` is not installed"):
        resolve_version("llm/x", source, "x", conversion=Conversion(convert=True), make=True)


# Shards


def test_shards_of_equal_size_hold_the_same_tensors_in_their_natural_order(tmp_path: Path) -> None:
    made = tmp_path / "source"
    made.mkdir()
    bodies = {f"layers.{number}.w": os.urandom(3 << 20) for number in range(12)}
    header, at = {}, 0
    for name, body in bodies.items():
        header[name] = {"dtype": "U8", "shape": [len(body)], "data_offsets": [at, at + len(body)]}
        at += len(body)
    text = json.dumps(header).encode()
    (made / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(bodies.values()))
    (made / "config.json").write_text("{}")
    before = resolve_version("llm/x", f"file://{made}", "x").manifest
    with pytest.raises(SourceMissing, match="not made on this machine"):
        resolve_version("llm/x", f"file://{made}", "x", conversion=Conversion(shard_mib=16))
    found = resolve_version("llm/x", f"file://{made}", "x", conversion=Conversion(shard_mib=16), make=True)
    assert sorted(found.manifest.tensors) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert {each for entries in found.manifest.tensors.values() for each in entries} == {*bodies}
    assert [len(entries) for entries in found.manifest.tensors.values()] == [6, 6]
    assert list(found.manifest.tensors["model-00001-of-00002.safetensors"]) == [
        f"layers.{number}.w" for number in range(6)
    ]
    hashes = {name: entry.blake3 for entries in before.tensors.values() for name, entry in entries.items()}
    assert {
        name: entry.blake3 for entries in found.manifest.tensors.values() for name, entry in entries.items()
    } == hashes
    index = json.loads((found.folder / "model.safetensors.index.json").read_text())
    assert (index["metadata"]["total_size"], index["weight_map"]["layers.11.w"]) == (
        36 << 20,
        "model-00002-of-00002.safetensors",
    )


@pytest.mark.parametrize(
    ("sizes", "target", "groups"),
    [
        ([5], 100, [1]),
        ([10] * 10, 50, [5, 5]),
        ([100, 1, 1, 1], 50, [1, 3]),
        ([1, 1, 1, 100], 50, [4]),
        ([30] * 7, 70, [3, 2, 2]),
    ],
)
def test_groups_are_even_and_never_empty(sizes: list[int], target: int, groups: list[int]) -> None:
    tensors, at = [], 0
    for number, size in enumerate(sizes):
        tensors.append((Path("x"), TensorInfo(str(number), "U8", (size,), at, at + size)))
        at += size
    assert [len(group) for group in even(tensors, target)] == groups
