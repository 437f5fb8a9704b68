"""Works on Dify exclude each other, and what one set aside is removed by no other: on a host that is a folder, with the
helper's own commands in processes of their own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dify_helper import ON_A_FOLDER
from helper_machine import stage
from machine_files import build

from steelyard.errors import DifyHostRefused
from steelyard.workflows import dify_host
from steelyard_host.dify import backup, database, exclusive, job_progress, lifecycle, stack, upgrade
from steelyard_host.dify.stack import DifyError, Stack
from steelyard_host.wire.dify import UpgradeState

HELPER = ON_A_FOLDER + "sys.exit(main())\n"
HOLDER = "import sys, time\nfrom pathlib import Path\nfrom steelyard_host.dify import exclusive, job_progress\n" + (
    "job_progress.FOLDER = Path(sys.argv[1])\nwith exclusive.held('a restore'):\n    print('held', flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with Dify 1.9.0, and 1.10.0 staged beside it; also for calls in this process."""
    build(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(stack.__file__).parent.parent.parent))
    for module, name, place in (
        (job_progress, "FOLDER", "doing"),
        (stack, "CONFIG", "dify.json"),
        (lifecycle, "CONFIG", "dify.json"),
        (upgrade, "STATE", "state/upgrade.json"),
        (upgrade, "OPEN", "state/upgrade-open"),
        (backup, "MARKS", "state/marks.json"),
    ):
        monkeypatch.setattr(module, name, tmp_path / place)
    for folder, version in (("dify", "1.9.0"), ("dify.next", "1.10.0")):
        stage(tmp_path, folder, version)
    compose = {"services": {name: {} for name in ("api", "db_postgres", "plugin_daemon")}}
    (tmp_path / "compose.json").write_text(json.dumps(compose))
    return tmp_path


def helper(host: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HELPER, str(host), *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


@pytest.fixture
def holder(host: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process at work, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(host / "doing")], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def stopped(host: Path) -> bool:
    return (host / "stopped").exists()


def with_docker_that_tells(host: Path) -> None:
    """Whatever stops containers leaves a mark; the image with PostgreSQL's programs has a name."""
    program = host / "bin/docker"
    mark = f'case "$*" in *" stop "*|*" down"*) touch {host}/stopped ;; *--images*) echo postgres:15 ;; esac\n'
    program.write_text(program.read_text().replace("#!/bin/sh\n", "#!/bin/sh\n" + mark, 1))


IDLE: dict[str, Any] = {"active": False, "doing": None, "ended": None}
WORKS = {
    "backup": ("dify-backup", "by hand"),
    "proof": ("dify-prove", "ARCHIVE"),
    "restore": ("dify-restore", "ARCHIVE"),
    "rehearsal": ("dify-rehearse",),
}


@pytest.mark.parametrize("work", WORKS)
def test_a_work_is_refused_while_another_goes_on_and_done_when_that_is_killed(
    host: Path, holder: subprocess.Popen[str], work: str
) -> None:
    with_docker_that_tells(host)
    archive = backup.make(Stack(json.loads((host / "dify.json").read_text())), "before").archive
    argv = [word.replace("ARCHIVE", archive) for word in WORKS[work]]
    refused = helper(host, *argv)
    assert refused.returncode == 1
    assert refused.stderr.startswith("other work on Dify goes on here: a restore, since 20")
    assert not stopped(host)
    holder.kill()
    holder.wait()
    done = helper(host, *argv)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_upgrade_is_refused_before_it_stops_anything_and_the_controller_says_so(
    host: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_docker_that_tells(host)
    assert helper(host, "dify-switch").returncode == 0
    ended = upgrade.progress()
    assert (ended.state, ended.steps) == (UpgradeState.RESTORED, ())
    assert str(ended.why).startswith("nothing was stopped: other work on Dify goes on here: a restore, since")
    assert not stopped(host)
    answers: list[dict[str, Any]] = [{"state": "none", "steps": []}, {}, IDLE, ended.as_json()]
    monkeypatch.setattr(dify_host, "helper_document", lambda *_, **__: answers.pop(0))
    with pytest.raises(DifyHostRefused, match=r"1\.10\.0 was not begun: nothing was stopped: other work"):
        dify_host.DifyHost(SimpleNamespace(name="d"), lambda event: None).switch()  # type: ignore[arg-type]


def test_an_upgrade_that_leaves_no_word_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {"state": "none", "steps": []}
    answers: list[dict[str, Any]] = [before, {}, *[IDLE, before] * dify_host.NOT_BEGUN_LOOKS]
    monkeypatch.setattr(dify_host, "helper_document", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr("gevent.sleep", lambda seconds: None)
    with pytest.raises(DifyHostRefused, match="the upgrade was not begun"):
        dify_host.DifyHost(SimpleNamespace(name="d"), lambda event: None).switch()  # type: ignore[arg-type]
    assert answers == []


def test_the_timer_s_backup_waits_for_the_end_of_another_work(host: Path, holder: subprocess.Popen[str]) -> None:
    command = [sys.executable, "-c", HELPER, str(host), "dify-scheduled"]
    waits = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    locks = Path("/proc/locks")
    end = time.monotonic() + 60
    while f"-> FLOCK  ADVISORY  WRITE {waits.pid} " not in locks.read_text():
        assert time.monotonic() < end, "it never came to the lock"
        time.sleep(0.05)
    assert not (host / "backups").exists()
    os.killpg(holder.pid, signal.SIGKILL)
    out, err = waits.communicate(timeout=100)
    assert (waits.returncode, err) == (0, "")
    assert json.loads(out)["proved"] == {"dify": 87}


# What is set aside


@pytest.mark.parametrize("left", ["dify.aside", "dify.aside-db"])
@pytest.mark.parametrize("work", ["dify-switch", "dify-rehearse", "dify-restore"])
def test_what_another_restore_set_aside_stays_and_nothing_stops(host: Path, left: str, work: str) -> None:
    archive = backup.make(Stack(json.loads((host / "dify.json").read_text())), "before").archive
    with_docker_that_tells(host)
    (host / left).mkdir()
    (host / left / "the-only-copy").write_text("x")
    done = helper(host, work, *([archive] if work == "dify-restore" else []))
    said = upgrade.progress().why if work == "dify-switch" else done.stderr
    assert f"{host / left} is there: a restore before this one did not end" in str(said)
    assert not stopped(host)
    assert (host / left / "the-only-copy").read_text() == "x"


@pytest.mark.parametrize("is_ours", [True, False])
def test_the_way_back_at_boot_removes_what_its_own_upgrade_set_aside_and_nothing_else(
    host: Path, is_ours: bool
) -> None:
    archive = backup.make(Stack(json.loads((host / "dify.json").read_text())), "before 1.10.0").archive
    record = {"state": "running", "steps": [], "from": "1.9.0", "to": "1.10.0", "begun": 1.5, "archive": archive}
    (host / "state/upgrade.json").write_text(json.dumps(record))
    (host / "state/upgrade-open").touch()
    for name in ("dify.aside", "dify.aside-db"):
        (host / name).mkdir()
        (host / name / backup.ASIDE_OF).write_text(json.dumps({"archive": archive if is_ours else "/another.tar.gz"}))
    done = helper(host, "dify-recover")
    if is_ours:
        assert (done.returncode, done.stderr) == (0, "")
        assert upgrade.progress().state is UpgradeState.RESTORED
        assert not (host / "state/upgrade-open").exists()
    else:
        assert done.returncode == 1
        assert "dify.aside is there" in done.stderr
    assert [path.name for path in sorted(host.glob("dify.aside*"))] == (
        [] if is_ours else ["dify.aside", "dify.aside-db"]
    )


@pytest.mark.parametrize("state", ["done", "restored"])
def test_an_upgrade_that_had_ended_is_not_gone_back_from(host: Path, state: str) -> None:
    """The power went after its last word, and before its mark was away."""
    archive = backup.make(Stack(json.loads((host / "dify.json").read_text())), "before 1.10.0").archive
    with_docker_that_tells(host)
    record = {"state": state, "steps": [], "from": "1.9.0", "to": "1.10.0", "begun": 1.5, "archive": archive}
    (host / "state/upgrade.json").write_text(json.dumps(record))
    (host / "state/upgrade-open").touch()
    done = helper(host, "dify-recover")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((host / "state/upgrade.json").read_text()) == record
    assert not (host / "state/upgrade-open").exists()
    assert not stopped(host)


def test_an_upgrade_that_was_cut_is_gone_back_from_before_another_begins(host: Path) -> None:
    record = {"state": "running", "steps": [], "from": "1.9.0", "to": "1.10.0", "begun": 1.5, "archive": None}
    (host / "state/upgrade.json").write_text(json.dumps(record))
    (host / "state/upgrade-open").touch()
    for work in ("dify-rehearse", "dify-switch"):
        refused = helper(host, work)
        assert refused.returncode == 1
        assert "an upgrade before was cut" in refused.stderr
    assert json.loads((host / "state/upgrade.json").read_text()) == record


def test_a_restore_that_fails_leaves_nothing_aside(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_docker_that_tells(host)
    settings = json.loads((host / "dify.json").read_text())
    settings["postgres"] = {"host": "db.example", "port": 5432, "user": "dify"}
    (host / "dify.json").write_text(json.dumps(settings))
    monkeypatch.setattr(database, "dump", lambda _, name, target: target.write_bytes(b"dump"))
    monkeypatch.setattr(Stack, "ask", lambda self, path: (200, None))
    archive = Path(backup.make(Stack(settings), "before").archive)
    restored: list[str] = []
    monkeypatch.setattr(database, "restore", lambda _, name, source: restored.append(source.name))

    def full(*_: object) -> None:
        raise DifyError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(database, "dump", full)
        with pytest.raises(DifyError, match="the disk is full"):
            backup.restore(archive)
    assert list(host.glob("dify.aside*")) == []
    with monkeypatch.context() as patched:
        patched.setattr(backup, "_bring", full)
        with pytest.raises(DifyError, match="what was there before runs again: the disk is full"):
            backup.restore(archive)
    assert restored == ["dify.dump"]
    assert list(host.glob("dify.aside*")) == []
    assert not (host / "dify" / backup.ASIDE_OF).exists()


def test_the_lock_is_root_s_file_and_no_link_leads_elsewhere(host: Path) -> None:
    with exclusive.held("a backup"):
        pass
    assert (host / "doing/lock").stat().st_mode & 0o777 == 0o600
    (host / "doing/lock").unlink()
    (host / "victim").write_text("x")
    (host / "doing/lock").symlink_to(host / "victim")
    with pytest.raises(OSError, match="symbolic links"), exclusive.held("a backup"):
        pass
    assert (host / "victim").read_text() == "x"
