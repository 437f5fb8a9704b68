"""Every error's fix mends it: the error is provoked by the product, its printed fix is applied, and the error is gone.

The cases are in `fix_cases_site`, `fix_cases_runs` and `fix_cases_rollout`. An error class without one stands in
`ELSEWHERE` with the test that shows it, or in `UNMENDED` with the reason why none can.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import fix_cases_rollout
import fix_cases_runs
import fix_cases_site
import pytest
from fix_case import BIN, CASES, Case
from fix_cases_site import vaulted

from steelyard import errors
from steelyard.engine.execute import _mend
from steelyard.errors import SteelyardError
from steelyard.inventory.read import read_fleet
from steelyard.modules.connectors.become import Become
from steelyard.modules.connectors.login import become_problem, login_problem
from steelyard.modules.connectors.ssh_settings import SshSettings

LAB = "tests/lab"
assert fix_cases_site and fix_cases_runs and fix_cases_rollout  # they register themselves
# class -> the test that provokes it, and words in it by which it is found; mended there by what the fix says, as far as
# it can be
ELSEWHERE = {
    "BecomeRefused": (f"{LAB}/test_connections.py", "BecomeRefused"),
    "ApplyInterrupted": (f"{LAB}/hands/test_interrupts.py", "not through: 3 hosts (gpu-1, gpu-2, gpu-3)"),
    "Interrupted": (f"{LAB}/hands/test_interrupts.py", "Exit.INTERRUPTED"),
    "NoRolloutToResume": (f"{LAB}/hands/test_interrupts.py", "gpu-1 serves v1, gpu-2 serves v1"),
    "TrialOpen": (f"{LAB}/hands/test_interrupts.py", "TrialOpen"),
    "ConnectionLost": (f"{LAB}/test_faults.py", "ConnectionLost"),
    "DidMore": ("tests/unit/test_run_ahead.py", "did not ask for"),
    "ConnectionNotSupported": (f"{LAB}/test_connections.py", "ConnectionNotSupported"),
    "DifyAccountLocked": ("tests/unit/test_dify_login.py", "DifyAccountLocked"),
    "DifyAdminKeyRefused": ("tests/unit/test_dify_login.py", "DifyAdminKeyRefused"),
    "DifyPasswordRefusedBefore": ("tests/unit/test_dify_login.py", "DifyPasswordRefusedBefore"),
    "DifyFieldWrong": ("tests/unit/test_dify_reconcile.py", "DifyFieldWrong"),
    "DifyHostRefused": ("tests/unit/test_dify_job_progress.py", "DifyHostRefused"),
    "DifyImagesMissing": ("tests/unit/test_dify_install.py", "DifyImagesMissing"),
    "DifyKeysFull": ("tests/unit/test_dify_check.py", "DifyKeysFull"),
    "DifyLegacyTypes": ("tests/unit/test_dify_removals.py", "DifyLegacyTypes"),
    "DifyLoginRefused": ("tests/unit/test_dify_reconcile.py", "DifyLoginRefused"),
    "DifyModelUsed": ("tests/unit/test_dify_reconcile.py", "DifyModelUsed"),
    "DifyPluginKept": ("tests/unit/test_dify_plugin_versions.py", "DifyPluginKept"),
    "DifyPluginMissing": ("tests/unit/test_dify_reconcile.py", "DifyPluginMissing"),
    "DifyRefused": ("tests/unit/test_dify_reconcile.py", "DifyRefused"),
    "DifySecretsMissing": ("tests/unit/test_dify_install.py", "DifySecretsMissing"),
    "DifyTooOld": ("tests/unit/test_dify_reconcile.py", "DifyTooOld"),
    "DifyUsersUnseen": ("tests/unit/test_dify_kept.py", "DifyUsersUnseen"),
    "DifyVectorsChanged": ("tests/unit/test_dify_role.py", "DifyVectorsChanged"),
    "DifyUpgradeFailed": (f"{LAB}/test_dify_stack.py", "was restored: Dify does not come up"),
    "DownloadFailed": ("tests/unit/test_web_source.py", "DownloadFailed"),
    "EndpointNotReady": ("tests/unit/test_dify_reconcile.py", "EndpointNotReady"),
    "FleetLocked": (f"{LAB}/test_engine.py", "the fleet is locked by"),
    "HelperUnreadable": ("tests/unit/test_wire_compatibility.py", "HelperUnreadable"),
    "HelperRefused": ("tests/unit/test_rollout.py", "HelperRefused"),
    "HostDidNotReturn": (f"{LAB}/test_hosts_driver.py", "not back 30 s after its reboot"),
    "HostKeyChanged": (f"{LAB}/test_bad_input.py", "HostKeyChanged"),
    "HostKeyRevoked": (f"{LAB}/test_connections.py", "HostKeyRevoked"),
    "HostKeyUnknown": (f"{LAB}/test_bad_input.py", "no host key for"),
    "HostSilent": (f"{LAB}/test_faults.py", "HostSilent"),
    "HostUnreachable": (f"{LAB}/test_faults.py", "HostUnreachable"),
    "HubRefused": ("tests/unit/test_hub.py", "HubRefused"),
    "HubUnreachable": ("tests/unit/test_hub.py", "HubUnreachable"),
    "KeyNotTrusted": ("tests/unit/test_driver.py", "KeyNotTrusted"),
    "HostDoesNotAnswer": (f"{LAB}/hands/test_removals.py", "does not answer at"),
    "HostUnknown": (f"{LAB}/hands/test_removals.py", "there is no host `gpu-33`"),
    "LastOfGroup": (f"{LAB}/hands/test_removals.py", "is the last host of group"),
    "LastReplica": (f"{LAB}/hands/test_removals.py", "serves the last replica of"),
    "ModelDeclared": (f"{LAB}/hands/test_removals.py", "is declared"),
    "LabDescriptionWrong": ("tests/unit/test_file_syntax.py", "LabDescriptionWrong"),
    "TargetUnknown": ("tests/unit/test_logs.py", "TargetUnknown"),
    "KeepersSilent": ("tests/unit/test_lock_keepers.py", "KeepersSilent"),
    "LockLapsed": ("tests/unit/test_lock_keepers.py", "LockLapsed"),
    "LockLost": ("tests/unit/test_lock_keepers.py", "LockLost"),
    "LockUnreadable": ("tests/unit/test_lock_keepers.py", "LockUnreadable"),
    "NotRestarted": (f"{LAB}/hands/test_restarts.py", "was not restarted"),
    "PathUnusable": ("tests/unit/test_odd_paths.py", "PathUnusable"),
    "PlanMoved": (f"{LAB}/test_engine.py", "nothing was changed"),
    "SourceAltered": ("tests/unit/test_hub.py", "SourceAltered"),
    "SshConfigUnreadable": (f"{LAB}/test_connections.py", "SshConfigUnreadable"),
    "SudoPasswordWrong": (f"{LAB}/test_faults.py", "SudoPasswordWrong"),
    "SudoRefused": (f"{LAB}/test_bad_input.py", "SudoRefused"),
    "KernelsIncomplete": ("tests/unit/test_kernels.py", "KernelsIncomplete"),
    "KernelsMissing": ("tests/unit/test_kernels.py", "KernelsMissing"),
    "KernelsOfOtherVersion": ("tests/unit/test_kernels.py", "KernelsOfOtherVersion"),
    "NoCpuBuild": ("tests/unit/test_wheels.py", "NoCpuBuild"),
    "NoWheelsThere": ("tests/unit/test_wheels.py", "NoWheelsThere"),
    "SetsInOneFolder": ("tests/unit/test_wheel_needs.py", "SetsInOneFolder"),
    "WheelSetUnknown": ("tests/unit/test_wheels.py", "WheelSetUnknown"),
    "WheelsFolderMissing": ("tests/unit/test_kernels.py", "WheelsFolderMissing"),
    "WheelsFolderOther": ("tests/unit/test_wheels.py", "WheelsFolderOther"),
    "WheelsForOtherCuda": ("tests/unit/test_wheels.py", "WheelsForOtherCuda"),
    "WheelsHostsDiffer": ("tests/unit/test_wheel_needs.py", "WheelsHostsDiffer"),
    "WheelsNotCollected": ("tests/unit/test_wheels.py", "WheelsNotCollected"),
    "WheelsNotResolved": ("tests/unit/test_wheels.py", "WheelsNotResolved"),
    "WheelsTargetUnknown": ("tests/unit/test_wheel_needs.py", "WheelsTargetUnknown"),
    "WheelsTargetWrong": ("tests/unit/test_wheels.py", "WheelsTargetWrong"),
    "VersionNotHere": (f"{LAB}/test_model_store.py", "has no version `v9` on the hosts asked"),
    "WheelsNotAsLocked": ("tests/unit/test_wheels.py", "WheelsNotAsLocked"),
}
# class -> why no test here applies its fix
UNMENDED = {
    "DifyPluginFailed": "Dify's own daemon fails; what mends it is in its log",
    "DifySeedFailed": "needs a package index",
    "EngineFailed": "its fix is the cause's own: the table of causes has one for each",
    "FactFailed": "what it asks to be run is the host's own",
    "HashLibraryMissing": "needs a Python that no wheel is there for",
    "KernelFeatureMissing": "another kernel is the only fix",
    "LabHostDown": "nothing makes a lab host fail to boot that a fix could undo",
    "LabHostNotThere": "needs a lab that runs; the hosts it may name are in its sentence",
    "LabNeedsLinux": "another machine is the only fix",
    "LabNeedsRoot": "the tests of the lab run as root",
    "LabNotThere": "needs a lab to be booted",
    "LabStepFailed": "its cause is another program's",
    "LibraryMissing": "the tests' environment has every library",
    "LocalProgramMissing": "installing a system's package is not a test's to do",
    "LoginRefused": "needs a host that refuses a login; told apart below",
    "NoVersionBefore": "needs a host that has served one version only",
    "PushFailed": "needs two hosts, and a link that is cut",
    "SudoMissing": "needs a host without sudo; told apart below",
    "SudoNeedsTerminal": "needs a host with requiretty; told apart below",
    "SwitchFailed": "needs an engine: the matrix of faults has a row for each",
    "TooManyFailed": "--resume after it is the lab's: test_engine.py",
    "NoWheelsDeclared": "an inventory without services; nothing else asks for wheels",
    "VersionDoesNotFit": "needs a host that is too small: what would fit is `models fit`'s to say",
    "WheelsNotPushed": "needs a mirror and a link that is cut",
}


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that an earlier case has kept; no vault password, no inventory and no terminal of whoever runs the
    tests.
    """
    beside = tmp_path_factory.mktemp("own")
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(beside / name))
    for name in ("ANSIBLE_VAULT_PASSWORD_FILE", "STEELYARD_INVENTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("kind", "case"), CASES, ids=[f"{kind.__name__}-{case.__name__}" for kind, case in CASES])
def test_the_printed_fix_mends_the_error(kind: type[SteelyardError], case: Case, tmp_path: Path) -> None:
    steps = case(tmp_path)
    attempt = next(steps)
    with pytest.raises(kind) as caught:
        attempt()
    assert type(caught.value) is kind
    with pytest.raises(StopIteration):
        steps.send(caught.value)
    try:
        attempt()
    except kind as again:
        raise AssertionError(f"the fix was applied, and it is still there: {again}") from again
    except SteelyardError:
        pass  # another one, further on: this one is gone


def test_every_error_has_a_case_or_says_where_it_is_mended() -> None:
    every = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    every = {name for name in every if issubclass(getattr(errors, name), SteelyardError)} - {"SteelyardError"}
    mended = {kind.__name__ for kind, _ in CASES}
    assert len(mended) >= 35
    listed = [*mended, *ELSEWHERE, *UNMENDED]
    assert len(listed) == len({*listed}), "in one table each"
    assert sorted(every - {*listed}) == [], "a new error: write a case that its fix mends, or say why there is none"
    assert sorted({*listed} - every) == []


def test_the_tests_that_are_named_provoke_it() -> None:
    root = Path(__file__).parent.parent.parent
    assert [name for name, (file, words) in ELSEWHERE.items() if words not in (root / file).read_text()] == []


@pytest.mark.parametrize(
    ("words", "kind", "fix"),
    [
        ("sudo: a password is required", "SudoRefused", "NOPASSWD"),
        ("ops is not in the sudoers file.", "SudoRefused", "NOPASSWD"),
        ("sudo: sorry, you must have a tty to run sudo", "SudoNeedsTerminal", "!requiretty"),
        ("sh: 1: sudo: not found", "SudoMissing", "ansible_user: root"),
        ("bash: line 1: sudo: command not found", "SudoMissing", "ansible_user: root"),
    ],
)
def test_each_way_in_which_sudo_refuses_has_its_own_fix(words: str, kind: str, fix: str) -> None:
    error = become_problem("gpu-1", "ops", words, Become())
    assert (type(error).__name__, fix in error.remedy) == (kind, True)


def test_each_way_in_which_a_host_cannot_be_reached_has_its_own_fix() -> None:
    """By the exceptions that are raised for real."""
    import socket

    from paramiko import AuthenticationException

    settings = SshSettings("10.0.0.12", "", {"user": ["ops"]})
    unknown = login_problem(socket.gaierror(-2, "Name or service not known"), settings, "gpu-1")
    refused = login_problem(AuthenticationException("no"), settings, "gpu-1")
    closed = login_problem(ConnectionRefusedError(111, "Connection refused"), settings, "gpu-1")
    assert (unknown.why, closed.why) == ("Name or service not known", "Connection refused")
    found = [(type(error).__name__, error.remedy.split(":")[0]) for error in (unknown, refused, closed)]
    assert found == [
        ("AddressUnknown", "set `ansible_host` of gpu-1 to its address, or a name that resolves here"),
        ("LoginRefused", "put the key there"),
        ("HostUnreachable", "see that it is up, that sshd listens there and no firewall is between"),
    ]
    assert "`ssh-copy-id ops@10.0.0.12`" in refused.remedy


@pytest.mark.parametrize(
    ("ended", "said", "words"),
    [
        ("exit 1", True, "shown above"),
        ("exit 1", False, "it said nothing"),
        ("did not end within 60 s", True, "steelyard_command_timeout_s"),
    ],
)
def test_a_failed_task_points_above_only_where_something_is_above(ended: str, said: bool, words: str) -> None:
    assert words in _mend(ended, said)


def test_secrets_of_a_file_that_is_encrypted_whole_are_masked_and_never_kept_in_the_clear(tmp_path: Path) -> None:
    """Its values do not say that they came out of a vault; and what was kept must not open without the password."""
    from steelyard.dirs import cache_folder

    path = vaulted(tmp_path, whole=True)
    assert "canary-of-the-vault" in read_fleet(path, tmp_path / "pw").secrets
    kept = [file for file in cache_folder().rglob("*") if file.is_file()]
    assert [file for file in kept if b"canary-of-the-vault" in file.read_bytes()] == []
    with pytest.raises(errors.VaultPasswordMissing):
        read_fleet(path)
    assert shutil.which("ansible-vault", path=str(BIN))
