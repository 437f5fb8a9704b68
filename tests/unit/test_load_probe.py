"""What the probe takes of a service's configuration: the engine's own options, and nothing that says how weights are
read.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_way_that_was_chosen_before_is_not_what_the_next_measurement_compares_with(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("load_probe", ROOT / "roles/vllm/files/load_probe.py")
    assert spec is not None and spec.loader is not None
    probe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(probe)
    config = tmp_path / "x.yaml"
    config.write_text(
        "model: /run/x\nuds: /run/x.sock\nserved-model-name: [x]\nmax-model-len: 256\ndtype: "
        "bfloat16\nload-format: sharded_state\n"
        "safetensors-load-strategy: prefetch\nsafetensors-prefetch-num-threads: "
        "2\nmodel-loader-extra-config: {num_threads: 4}\n"
    )
    assert probe.base_options(config) == {"max_model_len": 256, "dtype": "bfloat16"}
    assert probe.base_options(None) == {}
    assert next(iter(probe.strategies(cuda=False))) == "default"
