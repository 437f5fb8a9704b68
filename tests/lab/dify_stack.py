"""The lab of the Dify tests: a mirror with the images of a simulated Dify, a host with Docker, an engine that is
simulated.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml
from support.certificate import self_signed
from support.lab_site import STEELYARD, Site, on_host, own_wheels, steelyard

from steelyard.lab.dify_stack.archive import WEAVIATES, write_archive
from steelyard.lab.dify_stack.images import images, push
from steelyard.lab.nspawn.record import require_lab

NAME = "dify"
DESCRIPTION = Path(__file__).parent / "dify_stack.yml"
FIRST, NEXT = "1.16.1", "1.17.1"
BROKEN, MUTE = "1.17.2-broken", "1.17.3-mute"  # one whose migration fails, one that migrates and does not start
PASSWORD, KEY = "passw0rd-of-the-lab-canary", "sk-dify-of-the-lab-canary"
ENGINE_PORT = 9100
COMPOSE = "cd /opt/dify && docker compose"
ENGINE = '''
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Engine(BaseHTTPRequestHandler):
    """simulated engine: answers whoever shows the key"""
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        known = self.headers.get("Authorization") == "Bearer %s"
        answer = {"choices": [{"message": {"content": "hello"}}], "data": [{"embedding": [1.0, 0.5]}]}
        text = json.dumps(answer).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass

ThreadingHTTPServer(("", %d), Engine).serve_forever()
'''
MODELS = {
    "llm/tiny": ("tiny", {"type": "llm", "context_size": 256, "max_tokens": 64, "default": True}),
    "embed/small": ("small", {"type": "text-embedding", "context_size": 256}),
}


class DifySite(Site):
    """The provisioned lab; `settings` is the section `dify` as declared now."""

    settings: dict[str, Any]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = steelyard(*words, "-i", str(self.inventory))
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def dify(self, *words: str) -> dict[str, Any]:
        done = self.run("dify", *words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def declare(self, version: str = FIRST, **more: Any) -> None:
        """Write the section `dify` with this release; `more` is over it."""
        made = self.inventory.parent / "release"
        sha256 = write_archive(version, made / f"dify-{version}.tar.gz")
        release = {
            "version": version,
            "archive": str(made / f"dify-{version}.tar.gz"),
            "sha256": sha256,
            "images": str(made / "images.yml"),
            "weaviate_steps": [f"semitechnologies/weaviate:{version}" for version in WEAVIATES[1:-1]],
        }
        self.settings = {
            "url": f"http://{self.address('dify-1')}",
            "email": "ops@example.org",
            "password": PASSWORD,
            "workspace_name": "Models",
            "ready_s": 150,
            "oldest_compose": "2.24.4",  # Debian 13's own, which the releases after 1.16.1 ask to be newer
            "release": release,
            "endpoint": f"http://{self.address('mirror-1')}:{ENGINE_PORT}/v1",
            **more,
        }
        section = {"docker": {"source": "distro"}, "dify": self.settings, "gateway": {"clients": {"dify": KEY}}}
        folder = self.inventory / "group_vars/dify"
        folder.mkdir(exist_ok=True)
        (folder / "dify.yml").write_text(yaml.safe_dump(section))

    def apply(self) -> dict[str, list[str]]:
        return self.changed("apply", "--yes")

    def drift(self) -> tuple[int, list[str]]:
        """Exit code, and the codes of the findings."""
        answer = self.json("drift")
        return answer["exit"], sorted({finding["code"] for finding in answer["findings"]})

    def answers(self) -> bool:
        return self.status("/console/api/setup") == 200

    def status(self, path: str) -> int:
        """What Dify's nginx answers on the host itself; 0: nothing."""
        asked = f"curl -s -o /dev/null -w '%{{http_code}}' http://127.0.0.1{path}"
        return int(self.sh("dify-1", asked, check=False) or 0)

    def until(self, condition: Any, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(1)


def boot(inventory: Path) -> DifySite:
    """The lab from its kept layers, with its inventory; the images pushed, the engine started."""
    steelyard("lab", "down", "--name", NAME)
    up = steelyard("lab", "up", "2", "--name", NAME, "--inventory", str(inventory), "--description", str(DESCRIPTION))
    assert up.returncode == 0, up.stderr
    own_wheels()
    site = DifySite(require_lab(NAME, "test"), inventory)
    everybody = inventory / "group_vars/all"
    (everybody / "models.yml").write_text(yaml.safe_dump({"models": _models(site)}))
    (everybody / "roles.yml").write_text(
        yaml.safe_dump({"registry_mirror": {"registries": {"pushed": {"port": 5000}}}})
    )
    (inventory / "group_vars/dify").mkdir(exist_ok=True)
    (inventory / "group_vars/dify/dify.yml").write_text(yaml.safe_dump({"docker": {"source": "distro"}}))
    return site


def _models(site: Site) -> dict[str, Any]:
    source = site.inventory.parent / "weights"
    source.mkdir(exist_ok=True)
    return {
        project: {"source": f"file://{source}", "version": "v1", "alias": alias, "dify": dify}
        for project, (alias, dify) in MODELS.items()
    }


def ready(inventory: Path) -> DifySite:
    """Docker and Compose from Debian are installed once and kept as a layer; Dify is installed by the tests."""
    site = boot(inventory)
    hosts = steelyard("apply", "-i", str(inventory), "--deploy", "hosts", "--yes")
    assert hosts.returncode == 0, hosts.stdout + hosts.stderr
    for machine in site.lab.machines:
        if machine.lacks_layer:
            if machine.host.name == "dify-1":
                site.sh("dify-1", "DEBIAN_FRONTEND=noninteractive apt-get -q -y install docker-compose >/dev/null")
            assert steelyard("lab", "snapshot", machine.host.name, "--name", NAME).returncode == 0
    pushed = push(f"{site.address('mirror-1')}:5000", images(FIRST, NEXT, BROKEN, MUTE), print)
    listed = [f"docker.io/{name if '/' in name else 'library/' + name}@{digest}" for name, digest in pushed.items()]
    made = inventory.parent / "release"
    made.mkdir(exist_ok=True)
    (made / "images.yml").write_text(yaml.safe_dump(listed))
    engine = ENGINE % (KEY, ENGINE_PORT)
    site.sh(
        "mirror-1",
        (
            f"cat > /root/engine.py <<'END'\n{engine}\nEND\nsystemd-run --quiet --unit simulated-engine "
            f"python3 /root/engine.py"
        ),
    )
    assert steelyard("dify", "secrets", "-i", str(inventory)).returncode == 0
    site.declare()
    return site


def emptied(site: DifySite) -> None:
    """Nothing of Dify is left on the host, but its backups."""
    gone = "rm -rf /opt/dify; docker system prune -af >/dev/null; rm -f /etc/steelyard/dify.*"
    site.sh("dify-1", f"{COMPOSE} down -v >/dev/null 2>&1; {gone}")


def over_tls(site: DifySite) -> dict[str, object]:
    """Settings of a proxy with a certificate of its own, that takes small uploads only."""
    certificate, key = self_signed("dify")
    path = site.inventory.parent / "dify.crt"
    path.write_text(certificate)
    return {"proxy": {"certificate": str(path), "key": key, "upload_mib": 2}}


def https_codes(site: DifySite) -> list[str]:
    """Of one MB and of three that are posted over TLS, which answers."""
    asked = "curl -sk -o /dev/null -w '%{http_code} ' https://127.0.0.1/console/api/setup"
    posts = (f"head -c {size} /dev/zero | {asked} -H 'Expect:' --data-binary @-" for size in (1_000_000, 3_000_000))
    answered, *codes = site.sh("dify-1", "; ".join([asked, *posts]), check=False).split()
    assert answered == "200"
    return codes


def own_databases(site: DifySite) -> dict[str, object]:
    """A PostgreSQL and a Redis that are none of the stack's, with a role that is no superuser; the settings for
    them.
    """
    env = dict(line.split("=", 1) for line in site.sh("dify-1", "cat /opt/dify/.env").splitlines() if "=" in line)
    images = site.sh("dify-1", f"{COMPOSE} config --images").split()
    postgres, redis = (next(image for image in images if f"/{name}" in image) for name in ("postgres", "redis"))
    run = "docker run --detach --restart always"
    site.sh(
        "dify-1",
        f"{run} --name own-postgres -p 5433:5432 -e POSTGRES_USER=owner -e POSTGRES_DB=owner"
        f" -e POSTGRES_PASSWORD=owner -e PGDATA=/data {postgres}",
    )
    site.sh(
        "dify-1", f"{run} --name own-redis -p 6390:6379 {redis} redis-server --requirepass '{env['REDIS_PASSWORD']}'"
    )
    # over TCP: the server that makes the database answers on the socket too, and goes away again
    asked = "docker exec -e PGPASSWORD=owner own-postgres psql -h 127.0.0.1 -U owner -d postgres -Atqc 'SELECT 1'"
    site.until(lambda: site.sh("dify-1", asked, check=False).strip() == "1")
    as_owner(site, f"CREATE ROLE dify LOGIN CREATEDB PASSWORD '{env['DB_PASSWORD']}'")
    for name in ("dify", "dify_plugin"):
        as_owner(site, f"CREATE DATABASE {name} OWNER dify")
    address = site.address("dify-1")
    return {"postgres": {"host": address, "port": 5433, "user": "dify"}, "redis": {"host": address, "port": 6390}}


def as_owner(site: DifySite, text: str, database: str = "postgres", check: bool = True) -> str:
    psql = f"docker exec own-postgres psql -h /run/postgresql -U owner -d {database} -Atqc"
    return site.sh("dify-1", f'{psql} "{text}"', check=check).strip()


def backed_up_while_cut_off(site: DifySite) -> dict[str, Any]:
    """A backup whose connection is cut once it has begun, and cannot be made again for eight seconds."""
    words = [STEELYARD, "dify", "backup", "--prove", "--json", "-i", str(site.inventory)]
    running = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while on_host(site, "dify-1", "systemctl is-active steelyard-dify-work || true").strip() != "active":
        assert running.poll() is None, "it ended before it was cut"
        time.sleep(0.02)
    on_host(site, "dify-1", "systemctl stop ssh; pkill -f '[s]shd: ops'; sleep 8; systemctl start ssh")
    out, told = running.communicate(timeout=300)
    assert running.returncode == 0, told
    found: dict[str, Any] = json.loads(out)
    return found
