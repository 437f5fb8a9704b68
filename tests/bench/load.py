"""What loading costs on a lab host with the real engine (CPU build): every way it has, and whole starts, ours beside
plain ones.

`make bench-load`. A model of random weights of 1.9 GB. The last line is one JSON object:

    cold_vs_default   the way that was chosen for cold pages, beside the engine's default with cold pages; 1 where that
    is chosen
    warm_vs_default   the way that was chosen for warm pages, beside the engine's default with warm pages; 1 where that
    is chosen
    tier_vs_default   the engine's default with the version locked in memory, after an attempt to empty the page cache,
    beside its
                      default with cold pages
    start_vs_plain    the loading phase of our whole start, pages cold before it, beside that of a start without a
    warm-up
    verify_vs_cat     rate of `models verify`'s reader beside `cat FILE >/dev/null`, warm
    mapped_vs_zip_cold, mapped_vs_zip_warm
                      torch.load of a mapped zip checkpoint, beside one that is read
    keys_after_two_versions, compiled_start_vs_first
                      compile-cache keys that two versions of a model left behind; seconds until the engine was
                      initialised with
                      artefacts that another start had compiled, beside those of a first one
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from pages import write_block

from steelyard.lab.nspawn.record import require_lab
from steelyard.lab.simulated import tiny_model

NAME = "bench-load"
BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent.parent
LAYERS, HIDDEN, INTERMEDIATE, SHARDS = 22, 2048, 5632, 4
UNIT = "steelyard-vllm@big.service"
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1"}
LINES: list[str] = []


def big_model(folder: Path, seed: int) -> Path:
    """The lab's tiny Llama with other sizes: the same files, and weights that fill memory."""
    tiny_model.HIDDEN, tiny_model.INTERMEDIATE, tiny_model.LAYERS = HIDDEN, INTERMEDIATE, LAYERS
    tiny_model.HEADS, tiny_model.KV_HEADS = HIDDEN // tiny_model.HEAD, HIDDEN // tiny_model.HEAD // 4
    small = tiny_model.make(folder.with_name("small"), 1)
    folder.mkdir()
    shapes = tiny_model.tensor_shapes()
    names = list(shapes)
    per = -(-len(names) // SHARDS)
    places: dict[str, str] = {}
    block = tiny_model.random_bf16(random.Random(seed), 1 << 20)
    for number in range(SHARDS):
        shard = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        part = names[number * per : (number + 1) * per]
        header, at = {}, 0
        for name in part:
            size = 2 * (shapes[name][0] * (shapes[name][1] if len(shapes[name]) > 1 else 1))
            header[name] = {"dtype": "BF16", "shape": list(shapes[name]), "data_offsets": [at, at + size]}
            at, places[name] = at + size, shard
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with (folder / shard).open("wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            while at > 0:
                out.write(block[:at])
                at -= len(block)
    for path in small.glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "config.json").write_text(json.dumps(tiny_model.config()))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.inventory = folder, folder / "inventory"
        self.steelyard("lab", "up", "3", "--name", NAME, "--inventory", str(self.inventory), inventory=False)
        self.lab = require_lab(NAME, "bench")

    def steelyard(self, *words: str, inventory: bool = True, expect: tuple[int, ...] = (0,)) -> str:
        command = [str(BIN / "steelyard"), *words, *(["-i", str(self.inventory)] if inventory else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in expect:
            sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def on(self, command: str) -> str:
        return self.steelyard(
            "lab", "exec", "gpu-1", "--name", NAME, "--", "sh", "-c", command, inventory=False, expect=(0, 1, 3)
        )

    def declare(self, source: Path, version: str, *, warm_s: int, lock_gib: int = 0, compiled: bool = False) -> None:
        options: dict[str, Any] = {"dtype": "float32", **({} if compiled else {"enforce-eager": True})}
        environment = ENVIRONMENT if compiled else {**ENVIRONMENT, "TORCHDYNAMO_DISABLE": "1"}
        serve = {"hosts": "gpu[0]", "port": 8000, "max_model_len": 128, "options": options, "environment": environment}
        model = {"source": f"file://{source}", "version": version, "serve": serve, "alias": "big"}
        at = self.inventory / "group_vars/all"
        (at / "models.yml").write_text(yaml.safe_dump({"model_root": "/models", "models": {"llm/big": model}}))
        (at / "bench.yml").write_text(yaml.safe_dump({"model_store": {"lock_gib": lock_gib}}))
        roles = (at / "roles.yml").read_text()
        packages = (
            "  packages: [python3-venv, libnuma1, haproxy, g++, python3-dev]\n" if compiled else ""
        )  # what compiling needs
        wanted = f"vllm:\n  warm_s: {warm_s}\n{packages}"
        roles = re.sub(r"^vllm:\n(  (warm_s|packages): .*\n)*", wanted, roles, flags=re.M)
        (at / "roles.yml").write_text(roles)

    def apply(self, limit: str = "all") -> None:
        self.steelyard("apply", "--yes", "-q", "-l", limit)

    def forget(self) -> None:
        """Out of the page cache, as far as nobody holds it."""
        program = (
            "import os,sys\nfor p in sys.argv[1:]:\n h=os.open(p,os.O_RDONLY); "
            "os.posix_fadvise(h,0,0,os.POSIX_FADV_DONTNEED)"
        )
        self.on(f"sync; python3 -c '{program}' /models/llm/big/*/*.safetensors")

    def start(self, cold: bool) -> dict[str, float]:
        """One start of the engine; seconds of the phases that its log names."""
        self.on(f"systemctl stop {UNIT}")
        if cold:
            self.forget()
        since = self.on("date +%s.%N").strip()
        self.on(f"systemctl start {UNIT}")
        log = self.on(f"journalctl --no-pager -o cat -u {UNIT} --since @{since}")
        phases = {"load": r"Loading weights took ([\d.]+) seconds", "init": r"init engine .* took ([\d.]+) s"}
        found = {name: re.search(pattern, log) for name, pattern in phases.items()}
        if found["load"] is None:
            sys.exit(f"the engine did not start:\n{log[-3000:]}")
        return {name: float(match[1]) for name, match in found.items() if match}

    def init_seconds(self) -> float:
        """Of the start that is running now, out of its log."""
        log = self.on(f"journalctl --no-pager -o cat -u {UNIT}")
        return float(re.findall(r"init engine .* took ([\d.]+) s", log)[-1])


def tell(text: str) -> None:
    print(text, flush=True)
    LINES.append(text)


def ways(bench: Bench, source: Path, repeats: int) -> dict[str, float]:
    """`steelyard bench load`, as an operator runs it."""
    bench.on(f"systemctl stop {UNIT}")
    [host] = json.loads(bench.steelyard("bench", "load", "--repeats", str(repeats), "--json"))["hosts"]
    rows = {(row["strategy"], row["cache"]): row for row in host["samples"]}
    tell("| way of the engine | cold, s | / default | warm, s | / default |\n|---|---|---|---|---|")
    names = list(dict.fromkeys(strategy for strategy, _ in rows))
    for name in names:
        cold, warm = rows[name, "cold"], rows[name, "warm"]
        tell(f"| {name} | {cold['median']:.2f} | {cold['ratio']:.2f} | {warm['median']:.2f} | {warm['ratio']:.2f} |")
    chosen = host["chosen"]
    tell(f"\nChosen: cold `{chosen['cold']}`, warm `{chosen['warm']}`.\n")
    bench.declare(source, "v1", warm_s=300, lock_gib=6)
    bench.apply()
    bench.on(f"systemctl restart {UNIT}")  # the lock comes with a start
    bench.on(f"systemctl stop {UNIT}")
    [locked] = json.loads(bench.steelyard("bench", "load", "--ways", "default", "--repeats", str(repeats), "--json"))[
        "hosts"
    ]
    tier = next(row["median"] for row in locked["samples"] if row["cache"] == "cold")
    cold = rows["default", "cold"]["median"]
    tell(
        f"Locked in memory, after an attempt to empty the page cache: {tier:.2f} s, {tier / cold:.2f} of "
        f"the default's cold {cold:.2f} s.\n"
    )
    bench.on("systemctl stop 'steelyard-hold@*'")
    return {
        "cold_vs_default": round(rows[chosen["cold"], "cold"]["ratio"], 2),
        "warm_vs_default": round(rows[chosen["warm"], "warm"]["ratio"], 2),
        "tier_vs_default": round(tier / cold, 2),
    }


def starts(bench: Bench, source: Path, repeats: int) -> dict[str, float]:
    """Whole starts in turns: plain, and with our warm-up beside it."""
    loads: dict[str, list[float]] = {"plain, cold": [], "warmed beside the start, cold before": []}
    for _ in range(repeats):
        for title, seconds in zip(loads, (0, 300), strict=True):
            bench.declare(source, "v1", warm_s=seconds)
            bench.apply()
            loads[title].append(bench.start(cold=True)["load"])
    tell("| loading phase of a start | seconds | / plain |\n|---|---|---|")
    plain = loads["plain, cold"]
    ratios = {}
    for title, seconds in loads.items():
        ratios[title] = statistics.median(mine / other for mine, other in zip(seconds, plain, strict=True))
        tell(f"| {title} | {statistics.median(seconds):.2f} | {ratios[title]:.2f} |")
    _, ours = ratios.values()
    return {"start_vs_plain": round(ours, 2)}


def compiled(bench: Bench, first: Path, second: Path) -> dict[str, float]:
    """Two versions at one constant path, then a start that finds what another one compiled; with the lab's tiny model.

    Past the gateway, whose checks would wait for a compilation: what is measured here is the engine.
    """
    bench.on(f"systemctl stop {UNIT}; rm -rf /var/cache/steelyard/big /models/_compiled")
    bench.declare(first, "small1", warm_s=300, compiled=True)
    bench.apply("gpu-1")
    fresh = bench.init_seconds()
    bench.declare(second, "small2", warm_s=300, compiled=True)
    bench.apply("gpu-1")
    again = bench.init_seconds()
    folders = bench.on(
        "ls /var/cache/steelyard/big/vllm/torch_compile_cache/torch_aot_compile 2>/dev/null; ls -d "
        "/var/cache/steelyard/big/vllm/torch_aot_compile/* 2>/dev/null; true"
    )
    keys = len({line.rsplit("/", 1)[-1] for line in folders.split()})
    shared = json.loads(bench.steelyard("models", "cache", "--json"))["services"]
    bench.on(f"systemctl stop {UNIT}; rm -rf /var/cache/steelyard/big")
    brought = bench.start(cold=False)
    tell("\n| start of the engine, compiling | `init engine`, s |\n|---|---|")
    tell(f"| version 1, nothing compiled yet | {fresh:.1f} |")
    tell(f"| version 2 at the same path: {keys} key for both | {again:.1f} |")
    tell(
        f"| with an empty cache and artefacts out of the store ({shared[0]['bytes'] / 1e6:.0f} MB) | "
        f"{brought['init']:.1f} |"
    )
    return {"keys_after_two_versions": keys, "compiled_start_vs_first": round(brought["init"] / fresh, 2)}


def checkpoints(bench: Bench) -> dict[str, float]:
    """What mapping gains, and against what: checkpoints.py on the lab host, in the engine's environment."""
    bench.on(f"systemctl stop {UNIT}")
    target = bench.lab.paths.host("gpu-1") / "root/root/checkpoints.py"
    target.write_text((ROOT / "tests/bench/checkpoints.py").read_text())
    said = bench.on("/opt/steelyard/engines/vllm-*/bin/python /root/checkpoints.py")
    found: dict[str, list[float]] = json.loads(said.splitlines()[-1])
    base = found["torch.load, zip checkpoint"]
    tell("\n| 1 GB, every byte copied out | cold, s | / zip | warm, s | / zip |\n|---|---|---|---|---|")
    for title, (cold, warm) in found.items():
        tell(f"| {title} | {cold:.2f} | {cold / base[0]:.2f} | {warm:.2f} | {warm / base[1]:.2f} |")
    mapped = found["torch.load, zip checkpoint, mapped"]
    return {"mapped_vs_zip_cold": round(mapped[0] / base[0], 2), "mapped_vs_zip_warm": round(mapped[1] / base[1], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--only", choices=("ways", "starts", "compiled", "checkpoints"), help="one part; nothing is written"
    )
    given = parser.parse_args()
    figures: dict[str, float] = {}
    subprocess.run([str(BIN / "steelyard"), "lab", "down", "--name", NAME], stdout=subprocess.DEVNULL, check=False)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        folder = Path(made)
        small = [tiny_model.make(folder / f"tiny{seed}", seed) for seed in (1, 2)]
        first = big_model(folder / "v1", 1)
        try:
            bench = Bench(folder)
            bench.declare(first, "v1", warm_s=300)
            bench.apply()
            size = sum(path.stat().st_size for path in first.iterdir())
            tell(
                f"{size / 1e9:.1f} GB in {SHARDS} files, vLLM's CPU build, one machine with "
                f"{os.cpu_count()} processors.\n"
            )
            if given.only in (None, "ways"):
                figures |= ways(bench, first, given.repeats)
            if given.only in (None, "starts"):
                figures |= starts(bench, first, max(2, given.repeats - 2))
            if given.only in (None, "checkpoints"):
                figures |= checkpoints(bench)
            if given.only in (None, "compiled"):
                figures |= compiled(bench, small[0], small[1])
        finally:
            subprocess.run(
                [str(BIN / "steelyard"), "lab", "down", "--name", NAME], stdout=subprocess.DEVNULL, check=False
            )
    if given.only:
        print(json.dumps(figures))
        return
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/bench/verify.py")], stdout=subprocess.PIPE, text=True, check=True
    )
    figures["verify_vs_cat"] = json.loads(done.stdout.splitlines()[-1])["warm_share_of_cat"]
    tell("\n" + "; ".join(done.stdout.splitlines()[:-1]) + ".")
    write_block("load", "\n".join(LINES))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
