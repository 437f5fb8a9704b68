"""A host that is a folder, whose Docker keeps a Weaviate, a database and their images as files, for upgrades of Dify.

Each project has a database in a file, which `pg_dump` prints and `pg_restore` reads; Weaviate's volume is a file in the
project's folder. Weaviate breaks its index without a word where it skips a minor release, as the real one does, and
answers over HTTP at an address for each project. The compose file says what a migration does.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from dify_helper import ON_A_FOLDER
from helper_machine import stage
from machine_files import build

from dify_double import weaviate_stub
from steelyard_host.dify import ladder

SOURCES = str(Path(ladder.__file__).parent.parent.parent)
OLD, NEW = "1.16.1", "1.17.1"
LADDER = ["1.28.9", "1.29.9"]
DATABASE: dict[str, Any] = {
    "alembic": ["a1"],
    "rows": {"accounts": 2, "apps": 3, "datasets": 1},
    "models": ["w1 llm qwen", "w1 rerank bge"],
    "legacy": {},
}
OBJECTS = {"o1": [1.0, 0.0], "o2": [0.0, 1.0]}
VOLUME: dict[str, Any] = {"at": "1.27.0", "collections": {"Vector_index_1_Node": OBJECTS}, "broken": False}
HELPER = (
    ON_A_FOLDER
    + """vectors.PORT, vectors.LOOK_S, vectors.SETTLE_S = int(os.environ["WEAVIATE_PORT"]), 0.01, 0.2
note, cut_at = upgrade._UpgradeLog.note, os.environ.get("CUT_AT")
def noted(self, step, **more):
    note(self, step, **more)
    if step == cut_at:
        os.kill(os.getpid(), 9)
upgrade._UpgradeLog.note = noted
upgrade.ANSWERS_S = 0.5
sys.exit(main())
"""
)
DOCKER = """#!PYTHON -IS
import json, os, re, sys
from pathlib import Path
root, words = Path("ROOT"), sys.argv[1:]
line = " ".join(words)
with (root / "calls").open("a") as calls:
    calls.write(line + "\\n")
project = words[words.index("--project-name") + 1] if "--project-name" in words else ""
database = root / ("db-%s.json" % project)
def read():
    return json.loads(database.read_text())
def write(held):
    database.write_text(json.dumps(held))
def compose(name="compose.json"):
    return json.loads(Path(name).read_text())
if (root / "refuse").exists() and re.search((root / "refuse").read_text(), line):
    sys.exit("simulated: refused")
if words[0] == "ps":
    print("c1" if line.endswith("project=dify") else "c2")
elif words[0] == "inspect":
    print((root / "containers.json").read_text().replace("127.0.0.1", "127.0.0." + words[1][1:]))
elif line.endswith("--format json"):
    official = "--file" in words and Path("official.json").exists()
    print(json.dumps(compose("official.json" if official else "compose.json")))
elif "psql" in words:
    text = words[-1]
    if "datname FROM" in text:
        print("dify")
    elif "rolcreatedb" in text:
        print("t")
    elif "pg_database_size" in text:
        print(4096)
    elif "server_version_num" in text:
        print(compose().get("postgres", "150004"))
    elif "alembic_version" in text:
        print("\\n".join(read()["alembic"]))
    elif "column_name" in text:
        print("\\n".join("%s.id" % table for table in read()["rows"]))
        print("\\n".join("provider_models." + name for name in ("tenant_id", "model_name", "model_type")))
        print("tenant_default_models.model_type")
    elif "DISTINCT" in text:
        print("\\n".join(read()["models"]))
    else:
        kind = "legacy" if "model_type" in text else "rows"
        for table in re.findall(r"'(\\w+) ' \\|\\|", text):
            print(table, read()[kind].get(table, 0))
elif "pg_dump" in words:
    print(database.read_text())
elif "pg_restore" in words:
    database.write_text(sys.stdin.read())
elif "run" in words and "flask" in words:
    said = compose()
    if words[-2:] == ["db", "heads"]:
        print("INFO a line of a log\\n%s (head)" % said["head"])
    elif said.get("canonical", True):
        write({**read(), "legacy": {}})
    else:
        sys.exit("Error: No such command 'data-migrate'.")
elif "run" in words:
    print("Database migration failed: no such column" if "fails" in compose() else "Database migration successful!")
    if "fails" not in compose():
        write({**read(), "alembic": [compose()["head"]], **compose().get("migrates", {})})
elif "up" in words and (words[-1] == "weaviate" or "--remove-orphans" in words):
    image = compose()["services"].get("weaviate", {}).get("image")
    if ".steelyard-vector-step.yaml" in words:
        image = json.loads(Path(".steelyard-vector-step.yaml").read_text())["services"]["weaviate"]["image"]
    volume = Path("volumes/weaviate/data.json")
    if image and volume.exists():
        held, version = json.loads(volume.read_text()), image.rpartition(":")[2]
        skipped = int(version.split(".")[1]) - int(held["at"].split(".")[1]) > 1
        held.update(at=version, broken=held["broken"] or skipped or image == "broken/weaviate:" + version)
        volume.write_text(json.dumps(held))
"""


class World:
    """The host, with the helper's commands on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        build(root)
        for folder, version in (("dify", OLD), ("dify.next", NEW)):
            stage(root, folder, version)
        self.compose("dify", "1.27.0")
        self.compose("dify.next", "1.30.2")
        self.steps(LADDER)
        self.put("db-dify.json", DATABASE)
        self.put("dify/volumes/weaviate/data.json", VOLUME)
        containers = json.loads((root / "containers.json").read_text())
        images = {"redis": "redis:6-alpine", "qdrant": "q/qdrant:v1.8.3", "weaviate": "s/weaviate:1.27.0"}
        for service, image in images.items():
            container = json.loads(json.dumps(containers[0]))
            container["Config"]["Labels"]["com.docker.compose.service"] = service
            container["Config"]["Image"] = image
            container["NetworkSettings"] = {"Networks": {"dify_default": {"IPAddress": "127.0.0.1"}}}
            containers.append(container)
        self.put("containers.json", containers)
        self.put("dify.json", {**self.held("dify.json"), "ready_s": 5})
        (root / "bin/docker").write_text(DOCKER.replace("PYTHON", sys.executable).replace("ROOT", str(root)))
        self._server = http.server.ThreadingHTTPServer(("", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def put(self, name: str, document: Any) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))

    def held(self, name: str) -> Any:
        return json.loads((self.root / name).read_text())

    def compose(self, folder: str, weaviate: str, **more: Any) -> None:
        """The compose file of a release: with this Weaviate, and what its migration does."""
        mount = {"volumes": [{"type": "bind", "source": "/x", "target": "/y"}]}
        services: dict[str, Any] = {
            "api": {"image": "langgenius/dify-api:1", **mount},
            "db_postgres": {"image": "postgres:15-alpine", **mount},
            "plugin_daemon": {"image": "langgenius/dify-plugin-daemon:1", **mount},
            "redis": {"image": "redis:6-alpine", **mount},
        }
        if weaviate:
            registry = "" if folder == "dify" else "cr.weaviate.io/"
            services["weaviate"] = {"image": f"{registry}semitechnologies/weaviate:{weaviate}", **mount}
        services |= more.pop("services", {})
        head = "a1" if folder == "dify" else "b2"
        self.put(folder + "/compose.json", {"services": services, "head": head, **more})

    def steps(self, versions: list[str], repository: str = "cr.weaviate.io/semitechnologies/weaviate") -> None:
        images = [{"version": version, "image": f"{repository}:{version}"} for version in versions]
        self.put("dify.next/" + ladder.STEPS, {"images": images})

    def helper(self, *argv: str, cut_at: str = "") -> subprocess.CompletedProcess[str]:
        """A command of the helper in a process of its own; killed when an upgrade comes to the step `cut_at`."""
        environment = {
            **os.environ,
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": SOURCES,
            "WEAVIATE_PORT": str(self._server.server_port),
            "CUT_AT": cut_at,
        }
        command = [sys.executable, "-c", HELPER, str(self.root), *argv]
        return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)

    def calls(self, pattern: str) -> list[str]:
        """What was asked of Docker, as far as the pattern's group says it."""
        path = self.root / "calls"
        found = (re.search(pattern, line) for line in (path.read_text() if path.exists() else "").splitlines())
        return [match[1] if match.groups() else match[0] for match in found if match]

    def is_untouched(self) -> bool:
        """Whether Dify, its database and its vectors are as they were at first."""
        record = self.held("dify/.steelyard-release.json")
        volume = self.held("dify/volumes/weaviate/data.json")
        return (record["version"], self.held("db-dify.json"), volume) == (OLD, DATABASE, VOLUME)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        root = self.root

        class Weaviate(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                asked = self.rfile.read(length).decode()
                folder = "dify" if self.connection.getsockname()[0] == "127.0.0.1" else "dify.rehearsal"
                volume = json.loads((root / folder / "volumes/weaviate/data.json").read_text())
                said = weaviate_stub.answer(volume, self.path, json.loads(asked)["query"] if asked else "")
                text = json.dumps(said).encode()
                self.send_response(404 if said is None else 200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Weaviate
