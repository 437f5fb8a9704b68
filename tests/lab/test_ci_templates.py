"""The CI templates as a pipeline would run them: their shell steps on the lab, their files against the published schemas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from conftest import BIN, ROOT, Site

GITHUB, GITLAB = ROOT / "docs/ci/github-actions.yml", ROOT / "docs/ci/gitlab-ci.yml"


@pytest.mark.parametrize(("path", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")])
def test_templates_are_what_github_and_gitlab_publish(path: Path, schema: str) -> None:
    words = [str(BIN / "check-jsonschema"), "--builtin-schema", schema, str(path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def repository(site: Site, tmp_path: Path) -> Path:
    """A checkout with an inventory and an environment that has steelyard, as after the install step."""
    (tmp_path / "inventories").mkdir()
    site.copy(tmp_path / "inventories").rename(tmp_path / "inventories/site")
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
    keep = {key: value for key, value in os.environ.items() if not key.startswith("SSH_AUTH")}
    own = {"HOME": str(repository), "XDG_STATE_HOME": str(repository / "state"), "PATH": f"{repository}/bin:{keep['PATH']}"}
    return {**keep, **own, "GH_LOG": str(repository / "gh.log"), "GH_OPEN": str(repository / "open"), **more}


def bash(script: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=cwd, env=env, capture_output=True, text=True)


def steps() -> dict[str, dict[str, Any]]:
    job = yaml.safe_load(GITHUB.read_text())["jobs"]["drift"]
    return {step["name"]: step for step in job["steps"] if "run" in step}


def test_github_steps_look_report_and_open_an_issue(site: Site, repository: Path, state: str) -> None:
    summary, output = repository / "summary", repository / "output"
    secrets = {
        "SSH_KEY": site.lab.paths.key.read_text().rstrip("\n"),
        "VAULT_PASSWORD": (site.inventory / ".vault-password").read_text().strip(),
    }
    env = environment(
        site, repository, INVENTORY="inventories/site", GITHUB_STEP_SUMMARY=str(summary), GITHUB_OUTPUT=str(output), **secrets
    )
    (repository / "inventories/site/.vault-password").unlink()
    looked = bash(steps()["Look"]["run"], repository, env)
    assert looked.returncode == 0, looked.stderr
    code = "2" if state == "drift" else "0"
    assert output.read_text() == f"code={code}\n"
    assert summary.read_text().startswith("# Drift: no drift" if code == "0" else "# Drift: ")
    assert json.loads((repository / "drift.sarif").read_text())["version"] == "2.1.0"
    assert ("::error title=gw-1" in looked.stdout) == (state == "drift")
    assert not list((repository / ".drift").glob("key")), "the key is left behind"
    for secret in secrets.values():
        assert secret not in looked.stdout + looked.stderr
    name = "Open an issue" if state == "drift" else "Close the issue"
    (repository / "open").write_text("" if state == "drift" else "7\n")
    assert bash(steps()[name]["run"], repository, env).returncode == 0
    said = (repository / "gh.log").read_text()
    assert ("issue create --title Drift" in said) if state == "drift" else ("issue close 7" in said)
    if state == "drift":
        (repository / "open").write_text("7\n")
        assert bash(steps()[name]["run"], repository, env).returncode == 0
        assert "issue edit 7 --body-file drift.md" in (repository / "gh.log").read_text()


def test_gitlab_job_ends_with_the_code_of_drift_and_leaves_its_reports(site: Site, repository: Path, state: str) -> None:
    job = yaml.safe_load(GITLAB.read_text())["drift"]
    key = repository / "key"
    key.write_text(site.lab.paths.key.read_text())
    env = environment(
        site, repository, INVENTORY=job["variables"]["INVENTORY"], FLEET_SSH_KEY=str(key),
        FLEET_VAULT_PASSWORD=str(site.inventory / ".vault-password"),
    )  # fmt: skip
    prepared = [line for line in job["before_script"] if "venv" not in line and "pip install" not in line]
    done = bash(
        "\n".join([*prepared, "set +e", *job["script"], "code=$?", "ssh-agent -k >/dev/null", "exit $code"]), repository, env
    )
    expected = 2 if state == "drift" else 0
    assert done.returncode == expected, done.stderr
    assert expected in (0, job["allow_failure"]["exit_codes"])
    suites = ElementTree.parse(repository / "drift.xml").getroot()
    assert sum(int(suite.get("failures", "0")) for suite in suites) == (1 if state == "drift" else 0)
    assert len(json.loads((repository / "codequality.json").read_text())) == (1 if state == "drift" else 0)
    assert bash("\n".join(job["after_script"]), repository, env).stdout.startswith("# Drift")
    assert sys.version_info >= (3, 11)
