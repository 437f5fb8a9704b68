"""The CI templates as a pipeline would run them: their shell steps on the lab, their files against the published
schemas.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.ci_templates import BASH, GITHUB, GITLAB, bash, github_steps, gitlab_job, gitlab_script
from support.lab_site import BIN, Site


@pytest.mark.parametrize(("path", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")])
def test_templates_are_what_github_and_gitlab_publish(path: Path, schema: str) -> None:
    words = [str(BIN / "check-jsonschema"), "--builtin-schema", schema, str(path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def repository(site: Site, tmp_path: Path) -> Path:
    """A checkout with an inventory and an environment that has steelyard, as after the install step."""
    (tmp_path / "inventories").mkdir()
    site.copy(tmp_path / "inventories").rename(tmp_path / "inventories/prod")
    (tmp_path / ".drift/bin").mkdir(parents=True)
    (tmp_path / ".drift/bin/steelyard").symlink_to(BIN / "steelyard")
    (tmp_path / "bin").mkdir()
    gh = tmp_path / "bin/gh"
    gh.write_text('#!/bin/sh\necho "$*" >> "$GH_LOG"\ncase "$*" in *list*) cat "$GH_OPEN";; esac\n')
    gh.chmod(0o755)
    (tmp_path / "open").write_text("")
    return tmp_path


@pytest.fixture(params=["in sync", "drift"])
def state(request: pytest.FixtureRequest, site: Site) -> Iterator[str]:
    harmed = request.param == "drift"
    if harmed:
        site.sh("gw-1", "echo '# by hand' >> /etc/haproxy/haproxy.cfg")
    yield str(request.param)
    if harmed:
        assert site.changed("apply", "--yes")


def environment(site: Site, repository: Path, **more: str) -> dict[str, str]:
    """What either runner gives: the secrets as each hands them over, and a folder for temporary files."""
    private = repository / "given"
    private.mkdir(exist_ok=True)
    (private / "key").write_text(site.lab.paths.key.read_text())
    (private / "password").write_text((site.inventory / ".vault-password").read_text())
    (repository / "temporary").mkdir(exist_ok=True)
    (repository / "inventories/prod/.vault-password").unlink(missing_ok=True)
    keep = {key: value for key, value in os.environ.items() if not key.startswith("SSH_AUTH")}
    return {
        **keep,
        "HOME": str(repository),
        "XDG_STATE_HOME": str(repository / "state"),
        "PATH": f"{repository}/bin:{keep['PATH']}",
        "INVENTORY": "inventories/prod",
        "RUNNER_TEMP": str(repository / "temporary"),
        "TMPDIR": str(repository / "temporary"),
        "GITHUB_STEP_SUMMARY": str(repository / "summary"),
        "GITHUB_OUTPUT": str(repository / "output"),
        "GH_LOG": str(repository / "gh.log"),
        "GH_OPEN": str(repository / "open"),
        "SSH_KEY": (private / "key").read_text().rstrip("\n"),
        "VAULT_PASSWORD": (private / "password").read_text().strip(),
        "FLEET_SSH_KEY": str(private / "key"),
        "FLEET_VAULT_PASSWORD": str(private / "password"),
        **more,
    }


def agents() -> set[str]:
    """Processes that hold keys."""
    return {path.parent.name for path in Path("/proc").glob("[0-9]*/comm") if _read(path) == "ssh-agent\n"}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def left_behind(repository: Path, secrets: list[str]) -> list[str]:
    """Files under the checkout and its temporary folder that hold a secret; the key's first line of many is enough."""
    words = [secret.splitlines()[len(secret.splitlines()) // 2] for secret in secrets]
    files = [path for path in repository.rglob("*") if path.is_file() and "given" not in path.parts]
    return [str(path) for path in files if any(word.encode() in path.read_bytes() for word in words)]


def test_github_steps_look_report_and_open_an_issue(site: Site, repository: Path, state: str) -> None:
    env, before = environment(site, repository), agents()
    looked = bash(github_steps()["Look"], repository, env)
    assert looked.returncode == 0, looked.stderr
    code = "2" if state == "drift" else "0"
    assert (repository / "output").read_text() == f"code={code}\n"
    assert (repository / "summary").read_text().startswith("# Drift: no drift" if code == "0" else "# Drift: ")
    assert json.loads((repository / "drift.sarif").read_text())["version"] == "2.1.0"
    assert ("::error title=gw-1" in looked.stdout) == (state == "drift")
    secrets = [env["SSH_KEY"], env["VAULT_PASSWORD"]]
    until(lambda: agents() <= before)
    assert (left_behind(repository, secrets), list((repository / "temporary").iterdir())) == ([], [])
    for secret in secrets:
        assert secret not in looked.stdout + looked.stderr
    name = "Open an issue" if state == "drift" else "Close the issue"
    (repository / "open").write_text("" if state == "drift" else "7\n")
    assert bash(github_steps()[name], repository, env).returncode == 0
    said = (repository / "gh.log").read_text()
    assert ("issue create --title Drift" in said) if state == "drift" else ("issue close 7" in said)
    if state == "drift":
        (repository / "open").write_text("7\n")
        assert bash(github_steps()[name], repository, env).returncode == 0
        assert "issue edit 7 --body-file drift.md" in (repository / "gh.log").read_text()


def test_gitlab_job_ends_with_the_code_of_drift_and_leaves_its_reports(
    site: Site, repository: Path, state: str
) -> None:
    env, before = environment(site, repository), agents()
    done = bash(gitlab_script("script"), repository, env)
    expected = 2 if state == "drift" else 0
    assert done.returncode == expected, done.stderr
    assert expected in (0, gitlab_job()["allow_failure"]["exit_codes"])
    until(lambda: agents() <= before)
    assert (list((repository / "temporary").iterdir()), list((repository / "given").iterdir())) == ([], [])
    suites = ElementTree.parse(repository / "drift.xml").getroot()
    assert sum(int(suite.get("failures", "0")) for suite in suites) == (1 if state == "drift" else 0)
    assert len(json.loads((repository / "codequality.json").read_text())) == (1 if state == "drift" else 0)
    assert bash(gitlab_script("after_script"), repository, env).stdout.startswith("# Drift")


LOOKS = {"GitHub": github_steps()["Look"], "GitLab": gitlab_script("script")}


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
@pytest.mark.parametrize("script", LOOKS.values(), ids=LOOKS)
def test_a_job_that_is_cancelled_leaves_no_secret(
    site: Site, repository: Path, script: str, sent: signal.Signals
) -> None:
    """The signal goes to the shell alone, while drift has just been given the vault's password."""
    env, before, temporary = environment(site, repository), agents(), repository / "temporary"
    secrets = [env["SSH_KEY"], env["VAULT_PASSWORD"]]
    running = subprocess.Popen(
        [*BASH, script], cwd=repository, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    until(lambda: any(_read(Path(f"/proc/{pid}/comm")) == "steelyard\n" for pid in _read(children).split()))
    assert left_behind(repository, secrets) != []
    started = _read(children).split()
    running.send_signal(sent)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 143, output
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))
    until(lambda: agents() <= before)
    assert (left_behind(repository, secrets), list(temporary.iterdir())) == ([], [])


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
