"""What `serve.options` may hold, and the sentence for what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from steelyard.errors import OptionOwned, SettingUnknown, SettingWrong, SteelyardError
from steelyard.inventory.ansible import read_ansible
from steelyard.roles.vllm.settings import Settings
from steelyard.serving.vllm_options import KNOWN, NEWEST, OWN
from steelyard.site.resolve import site_of


def declared(folder: Path, serve: str, vllm: str = "") -> Path:
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "hosts.yml").write_text(
        "all:\n  children:\n    gpu:\n      hosts:\n        g1: {ansible_host: 127.0.0.1}\n"
    )
    models = (
        f"models:\n  a/b:\n    source: file:///m\n    version: v1\n    serve:\n      hosts: gpu\n      "
        f"{serve}\n    alias: b\n"
    )
    (folder / "group_vars/all/models.yml").write_text(models + vllm)
    return folder


def test_the_newest_version_is_the_one_that_is_installed_by_default() -> None:
    assert Settings().version == NEWEST
    assert {"enforce-eager", "quantization", "kv-cache-dtype"} <= KNOWN[NEWEST]


@pytest.mark.parametrize("written", ["port: 9", "served-model-name: x", "api_key: k", "tensor_parallel_size: 2"])
def test_what_steelyard_sets_itself_is_refused_with_where_it_is_set(tmp_path: Path, written: str) -> None:
    with pytest.raises(OptionOwned) as found:
        site_of(read_ansible(declared(tmp_path, f"options: {{{written}}}")))
    assert found.value.where.endswith("models.yml:7")
    assert OWN[written.split(":")[0].replace("_", "-")] in found.value.remedy


def test_a_typo_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(SettingUnknown, match="max-num-sqs") as found:
        site_of(read_ansible(declared(tmp_path, "options: {max-num-sqs: 8}")))
    assert found.value.nearest == "max-num-seqs"


@pytest.mark.parametrize(
    ("serve", "vllm"),
    [
        ("options: {max_num_seqs: 8, no-enable-prefix-caching: true}", ""),
        ("options: {brand-new: 1}\n      options_check: ignore", ""),
        ("options: {brand-new: 1}\n      engine_version: 9.9.9", ""),
        ("options: {brand-new: 1}", "vllm: {version: 9.9.9}\n"),
    ],
)
def test_what_is_known_or_not_to_be_checked_passes(tmp_path: Path, serve: str, vllm: str) -> None:
    assert len(site_of(read_ansible(declared(tmp_path, serve, vllm))).services) == 1
    assert KNOWN.get("9.9.9") is None


def test_a_weight_of_a_host_that_does_not_serve_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingUnknown, match="g2"):
        site_of(read_ansible(declared(tmp_path, "weights: {g2: 5}")))


@pytest.mark.parametrize(
    ("serve", "error", "said"),
    [
        ("options: {n-ctx: 9}", OptionOwned, "n-ctx"),
        ("options: {n_paralel: 9}", SettingUnknown, "n_paralel"),
        ("options: {enforce-eager: true}", SettingUnknown, "enforce-eager"),
        ("load_strategy: sharded", SettingWrong, "sharded"),
    ],
)
def test_each_engine_has_its_own_options(tmp_path: Path, serve: str, error: type[SteelyardError], said: str) -> None:
    with pytest.raises(error, match=said):
        site_of(read_ansible(declared(tmp_path, f"engine: llamacpp\n      {serve}")))
    passes = "engine: llamacpp\n      options: {n-parallel: 2, n_gpu_layers: 99}"
    other = tmp_path / "other"
    assert site_of(read_ansible(declared(other, passes))).services[0].unit.startswith("steelyard-llamacpp@")
