"""Fixes of command lines, runs, files, models and Dify."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import test_execution
from fix_case import Attempt, inventory, mends, printed, raised, run
from fix_cases_site import replace
from test_settings import MODELS, fleet_with

from steelyard import errors
from steelyard.api.outcome import HostOutcome
from steelyard.artifacts.images import read_images
from steelyard.cli.common import Run
from steelyard.cli.dify.host import REHEARSE
from steelyard.dify.http import exchange
from steelyard.dify.plugin_package import read_package
from steelyard.dify.source import release_files
from steelyard.drift.exceptions import read_exceptions
from steelyard.engine.journal import ApplyJournal
from steelyard.engine.run_owner import RunOwner
from steelyard.engine.saved import SavedPlan, read_plan, write_plan
from steelyard.engine.session import Session
from steelyard.engine.waves import Share
from steelyard.errors import SteelyardError
from steelyard.events import ignore
from steelyard.inventory.fleet import FleetHost
from steelyard.inventory.read import read_fleet
from steelyard.lab.nspawn.paths import layer_folder
from steelyard.models.content import signing
from steelyard.models.sources import parse
from steelyard.models.sources.known_manifests import remember_manifest
from steelyard.models.sources.resolve import resolve_version
from steelyard.render.reports import writer_of
from steelyard.render.screen import Screen
from steelyard.rollout.prompts import read_prompts
from steelyard.rollout.request import parse_on_interrupt
from steelyard.site.resolve import site_of
from steelyard.site.schema import Model
from steelyard.site.site import Site
from steelyard.workflows import run_context
from steelyard.workflows.mirror_images import push_port
from steelyard.workflows.models import export_model, push_models, store_queries

# The command line


@mends(errors.UsageWrong)
def usage(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    words = ["steelyard", "plan", "-i", str(tmp / "none"), "--limt", "x", "--json"]
    error = yield lambda: raised(run(words))
    assert "--limit" in run(printed(error, "steelyard plan")).stdout
    words[4] = "--limit"


@mends(errors.DeployMissing)
def deploy_missing(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    name = ["sit"]
    error = yield lambda: run_context.deploy_path(name[0])
    name[0] = next(word for word in re.findall(r"\w+", error.remedy) if word.startswith("sit"))


@mends(errors.DeployBroken)
def deploy_broken(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    deploy, fleet = tmp / "mine.py", read_fleet(inventory(tmp / "prod"))
    deploy.write_text("x = 1\nif then\n")

    def look() -> None:
        with Session(fleet, Site("/m", {}, (), {}, {}, {}), ("g1",), deploy, test_execution.Pretended) as session:
            session.look()

    error = yield look
    assert error.where == f"{deploy}:2"
    deploy.write_text("x = 1\n")


@mends(errors.ConfirmationImpossible)
def confirmation(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    yes = [False]
    error = yield lambda: Run(Screen(), yes=yes[0]).confirmed(
        "?", where="steelyard dify upgrade", changes=1, look=REHEARSE
    )
    assert "--rehearsal" in printed(error, "steelyard dify upgrade")
    yes[0] = "pass `--yes`" not in error.sentence and "pass `--yes`" in error.remedy


@mends(errors.DirectoryNotEmpty)
def directory(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    words = ["steelyard", "init", str(inventory(tmp / "prod"))]

    def attempt() -> None:
        done = run(words, cwd=tmp)
        if "not empty" in done.stderr:
            raise errors.DirectoryNotEmpty(where=words[2])
        assert done.returncode == 0, done.stderr

    error = yield attempt
    words[:] = printed(error, "steelyard init")


@mends(errors.ShareWrong)
def share(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    text = ["half"]
    error = yield lambda: Share.parse(text[0], "--serial", least=1)
    text[0] = printed(error, "--serial")[1]


@mends(errors.ReportUnknown)
def report(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    name = ["sarf"]
    error = yield lambda: writer_of(name[0])
    name[0] = printed(error, "--report")[1]


@mends(errors.FileNotWritten)
def not_written(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = [tmp / "none/site.plan"]
    yield lambda: write_plan(path[0], SavedPlan("i", "all", "site", "", "", {}, {}), "")
    path[0] = tmp / "site.plan"


@mends(errors.FolderThere)
def folder_there(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    fleet = read_fleet(fleet_with(tmp / "prod", MODELS.replace("file:///srv/tiny", f"file://{source(tmp)}")))
    folder = [tmp]
    yield lambda: export_model.export_version(fleet, None, "llm/tiny", "v1", folder[0], "", ignore)  # type: ignore[arg-type]
    folder[0] = tmp / "another"


@mends(errors.PlanFileWrong)
def plan_file(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = tmp / "site.plan"
    path.write_text("{}")
    error = yield lambda: read_plan(path)
    words = printed(error, "steelyard plan")
    write_plan(Path(words[words.index("-o") + 1]), SavedPlan("i", "all", "site", "", "", {}, {}), "")


@mends(errors.NothingToResume)
def nothing_to_resume(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    journal = ApplyJournal(inventory(tmp / "prod"), tmp / "site.py")
    error = yield journal.left
    assert "without `--resume`" in error.remedy
    journal.begin(RunOwner.here("apply site"), ("g1",))  # what an apply does first


@mends(errors.OnInterruptUnknown)
def on_interrupt_unknown(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    given = "hodl"
    error = yield lambda: parse_on_interrupt(given)
    given = printed(error, "--on-interrupt")[1]


@mends(errors.TaskFailed)
def task_failed(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    fails: dict[str, str | None] = {"g1": "second"}

    def apply() -> None:
        plan = test_execution.run(tmp, fails, None, None)
        if plan.hosts[0].outcome is HostOutcome.FAILED:
            assert plan.hosts[0].error is not None
            raise plan.hosts[0].error

    error = yield apply
    assert "above" not in error.remedy, "the host said nothing, so nothing is above"
    assert printed(error, "steelyard apply") == ["steelyard", "apply", "--resume"]
    fails["g1"] = None


@mends(errors.AddressUnknown)
def address(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = inventory(tmp / "prod", "all: {hosts: {g1: {ansible_host: no-such-host.invalid}}}\n")

    def plan() -> None:
        done = run(["steelyard", "plan", "-i", str(path), "--deploy", "hosts", "--json"])
        [host] = json.loads(done.stdout)["hosts"]
        kind = getattr(errors, host["error"]["error"])
        error = kind(**{name: host["error"][name] for name in kind.fields()})
        if isinstance(error, errors.AddressUnknown):
            raise error

    error = yield plan
    assert "ansible_host" in error.remedy
    inventory(path, "all: {hosts: {g1: {ansible_host: 127.0.0.1, ansible_port: 9}}}\n")


# Files


@mends(errors.ImageListWrong)
def image_list(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = tmp / "images.yml"
    path.write_text("- docker.io/library/alpine:latest\n")
    error = yield lambda: read_images(path)
    assert "digest" in error.remedy
    path.write_text(f"- docker.io/library/alpine:latest@sha256:{'0' * 64}\n")


@mends(errors.RegistryMissing)
def registry(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    variables: dict[str, Any] = {}
    error = yield lambda: push_port(tmp, None, [FleetHost("m1", (), variables)])
    name, (key, port) = printed(error, "pushed")[0], printed(error, "port:")
    variables["registry_mirror"] = {"registries": {name: {key.rstrip(":"): int(port)}}}


@mends(errors.ExceptionWrong)
def exception(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = tmp / "drift-exceptions.yml"
    path.write_text("- {id: abc, reason: x}\n")
    error = yield lambda: read_exceptions(path)
    values = {"id": "0123456789abcdef", "reason": "because", "owner": "anna", "expires": "2027-01-31"}
    keys = re.findall(r"`(\w+)`", error.remedy)
    path.write_text("- {" + ", ".join(f"{key}: {values[key]}" for key in keys) + "}\n")


@mends(errors.PromptsWrong)
def prompts(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = tmp / "quality.jsonl"
    path.write_text('{"prompt": "1+1"}\n')
    error = yield lambda: read_prompts(path)
    path.write_text(json.dumps(dict.fromkeys(re.findall(r"`(prompt|expect)`", error.remedy), "2")) + "\n")


# Models


def source(tmp: Path) -> Path:
    folder = tmp / "weights"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    return folder


@mends(errors.SourceMissing)
def source_missing(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield lambda: resolve_version("llm/tiny", f"file://{tmp}/weights", "models.yml:2")
    assert "put the files there" in error.remedy
    source(tmp)


@mends(errors.CopyUnproven)
def copy_unproven(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = push_models.VersionPath("/models", "llm/tiny", "v1")
    copy = resolve_version("llm/tiny", f"file://{source(tmp)}", "models.yml:2").manifest
    said = {"version": "v1", "alias": "tiny", "source": f"file://{tmp}/gone"}
    model = Model.model_validate(said)

    def take() -> None:
        why = push_models.unproven_copy(copy.id, path, model, {()})
        if why is not None:
            raise errors.CopyUnproven(
                where="gpu-1", model="llm/tiny", version="v1", host="gpu-1", why=why, source=model.source
            )

    error = yield take
    assert f"bring its source ({model.source}) here" in error.remedy
    remember_manifest("llm/tiny", "v1", model.source, copy.id)  # what reading the source does


@mends(errors.SourceRefused)
def source_refused(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    folder = source(tmp)
    (folder / "model.bin").write_bytes(b"pickle")
    error = yield lambda: resolve_version("llm/tiny", f"file://{folder}", "models.yml:2")
    assert "safetensors" in error.remedy
    (folder / "model.bin").unlink()


@mends(errors.SourceWrong)
def source_wrong(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    uri = ["Qwen3-8B"]
    error = yield lambda: parse(uri[0], "--source")
    form = next(word for word in error.remedy.split() if word.startswith("hf://")).rstrip(",")
    uri[0] = form.replace("ORG", "Qwen").replace("NAME", "Qwen3-8B").replace("REVISION", "main")


@mends(errors.ModelUnknown)
def model_unknown(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    site, name = site_of(read_fleet(fleet_with(tmp))), ["llm/tyni"]
    error = yield lambda: store_queries.chosen_models(tmp, site, name)
    name[:] = printed(error, "llm")


@mends(errors.VersionNotDeclared)
def version_not_declared(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    fleet_with(tmp, MODELS.replace("hosts: gpu", "hosts: g1"))
    (tmp / "hosts.yml").write_text(
        "all: {children: {gpu: {hosts: {g1: {ansible_host: 127.0.0.1, ansible_port: 9}}}}}\n"
    )
    error = yield lambda: raised(run(["steelyard", "rollout", "tiny", "v2", "-i", str(tmp), "--yes", "--json"]))
    replace(tmp, "version: v1", shlex.join(printed(error, "version:")).replace("'", ""))


def key(tmp: Path) -> Path:
    path = tmp / "key"
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@mends(errors.SignatureNotMade)
def not_signed(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    given = [tmp / "none"]
    error = yield lambda: signing.sign("llm/x", "v1", "0" * 64, given[0])
    assert "--key" in error.remedy
    given[0] = key(tmp)


@mends(errors.SignatureWrong)
def wrongly_signed(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    made: dict[str, str] = {}
    trusted = (Path(f"{key(tmp)}.pub").read_text(),)
    error = yield lambda: signing.verify_signature(
        "llm/x", "v1", "0" * 64, made.get("signature"), trusted, "models.yml"
    )
    words = printed(error, "steelyard models sign")
    made["signature"] = signing.sign(words[3], "v1", "0" * 64, key(tmp))


# Dify


@mends(errors.DifyUnreachable)
def dify_unreachable(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answers, bind_and_activate=False)
    server.server_bind()
    error = yield lambda: exchange(f"http://127.0.0.1:{server.server_address[1]}", "GET", "/setup", None, {}, 10)
    assert "that Dify runs" in error.remedy
    server.server_activate()
    threading.Thread(target=server.handle_request, daemon=True).start()


@mends(errors.DifyPluginWrong)
def dify_plugin(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path, content = tmp / "x.difypkg", io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.writestr("manifest.yaml", "author: a\nname: b\nversion: 1.0.0\n")
    declared = hashlib.sha256(content.getvalue()).hexdigest()
    path.write_bytes(b"another")
    error = yield lambda: read_package(str(path), declared)
    assert "whose hash is declared" in error.remedy
    path.write_bytes(content.getvalue())


@mends(errors.DifyArchiveWrong)
def dify_archive(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = tmp / "dify.tar.gz"
    with tarfile.open(path, "w:gz") as made:
        for name in ("dify/docker/docker-compose.yaml", "dify/docker/.env.example"):
            made.addfile(tarfile.TarInfo(name))
    declared = ["0" * 64]
    error = yield lambda: release_files(str(path), declared[0])
    command = [str(path) if word == "FILE" else word for word in printed(error, "sha256sum")]
    declared[0] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


@mends(errors.LabNameWrong)
def lab_name(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    name = ["../other"]
    error = yield lambda: layer_folder(name[0])
    name[:] = printed(error, "second")
