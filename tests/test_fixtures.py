"""Every folder under facts/ and operations/ names what it tests; every file in it is one case."""

from pathlib import Path

from pyinfra_testing.facts import make_fact_tests
from pyinfra_testing.operations import make_operation_tests

# they call, stream or reboot, or read facts without arguments, which this harness gives as plain dictionaries:
# tests/unit/test_dify_reconcile.py, test_dify_plugins.py, test_dify_role.py, test_store_operation.py, test_driver.py,
# test_docker_config.py, test_fit.py, test_on_demand.py and test_replica.py
ELSEWHERE = [
    "operations/cdi.described",
    "operations/cdi.char_links",
    "operations/dify.owned",
    "operations/dify.plugins_installed",
    "operations/dify.unregistered",
    "operations/dify.registered",
    "operations/dify.used_kept",
    "operations/docker.daemon",
    "operations/driver.active",
    "operations/gpu_memory.fits_gpu_memory",
    "operations/memory_budget.within_memory_budget",
    "operations/replica.replica_running",
    "operations/store.version_published",
]
HERE = Path(__file__).parent
for _kind, _make_tests in {"facts": make_fact_tests, "operations": make_operation_tests}.items():
    for _folder in sorted((HERE / _kind).iterdir()):
        globals()[f"{_kind}_{_folder.name}"] = _make_tests(f"steelyard.modules.{_kind}", _folder.name, _folder)


def test_every_fact_and_operation_has_a_case() -> None:
    import ast

    missing = []
    for kind, base in (("facts", "FactBase"), ("operations", "operation")):
        for path in sorted((HERE.parent / "modules" / kind).glob("[a-z]*.py")):
            for node in ast.parse(path.read_text()).body:
                marks = [ast.unparse(mark) for mark in getattr(node, "bases", []) + getattr(node, "decorator_list", [])]
                name = f"{path.stem}.{getattr(node, 'name', '')}"
                if any(mark.startswith(base) for mark in marks) and not any((HERE / kind / name).glob("*.yaml")):
                    missing.append(f"{kind}/{name}")
    assert missing == ELSEWHERE
