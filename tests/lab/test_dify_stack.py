"""Dify installed, changed by hand, rebooted, upgraded, failed and restored: real Docker, Compose, PostgreSQL, Redis,
nginx.

Dify's own images are the contract double; it keeps its state in PostgreSQL, with keys encrypted by a private key in the
storage folder, as the real one does. The tests build on one another, from the install to the empty host.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dify_stack import (
    BROKEN,
    COMPOSE,
    FIRST,
    KEY,
    MUTE,
    NAME,
    NEXT,
    PASSWORD,
    DifySite,
    as_owner,
    backed_up_while_cut_off,
    emptied,
    https_codes,
    over_tls,
    own_databases,
    ready,
)
from support.dear import dear
from support.lab_site import STEELYARD, steelyard

from steelyard.artifacts.uv import uv_program

pytestmark = dear(0, 3, "STEELYARD_DIFY")
HELPER = "python3 -I /usr/lib/steelyard/steelyard-host.pyz"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DifySite]:
    yield ready(tmp_path_factory.mktemp("dify") / "inventory")
    steelyard("lab", "down", "--name", NAME)


def registered(site: DifySite) -> list[str]:
    return sorted(model["model"] for model in site.dify("ls")["models"])


def test_a_release_is_installed_owned_and_gets_its_models_and_the_second_run_changes_nothing(site: DifySite) -> None:
    assert "what Dify has: it does not run yet" in site.run("plan", "-v").stdout
    first = site.run("apply", "--yes")
    # the plugin is not there yet: told in one sentence, and everything before it stands
    assert first.returncode == 3
    assert "Dify has no model provider" in first.stderr
    assert site.answers()


def test_with_its_plugin_the_models_are_registered_and_nothing_is_left_to_do(site: DifySite) -> None:
    site.declare(plugins=[plugin(site)])
    changed = site.apply()
    assert [code for code in changed["dify-1"] if code.startswith("dify.")] == [
        "dify.install-the-plugins",
        "dify.register-the-models",
        "dify.keep-the-marks-of-the-keys",
    ]
    assert registered(site) == ["small", "tiny"]
    assert site.changed("plan") == {}
    assert site.drift() == (0, [])


def plugin(site: DifySite) -> dict[str, str]:
    """A package with a real one's head; the double unpacks no more."""
    path = site.inventory.parent / "openai_api_compatible.difypkg"
    if not path.exists():
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("manifest.yaml", "version: 0.0.63\nauthor: langgenius\nname: openai_api_compatible\n")
    return {"package": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_every_registered_model_answers_through_the_service_api(site: DifySite) -> None:
    found = site.dify("check")["models"]
    assert {each["model"]: each["result"] for each in found} == {"tiny": "answered", "small": "answered"}


def test_images_are_pinned_ports_are_shut_and_no_well_known_secret_lives(site: DifySite) -> None:
    images = site.sh("dify-1", f"{COMPOSE} config --images").split()
    assert [image for image in images if "@sha256:" not in image] == []
    bound = site.sh("dify-1", "docker ps --format '{{.Ports}}'")
    assert "127.0.0.1:5003" in bound
    assert "0.0.0.0:5003" not in bound
    env = site.sh("dify-1", "cat /opt/dify/.env")
    known = ("difyai123456", "dify-sandbox", "-well-known-", "dify-agent-run-token")
    assert [word for word in known if word in env] == []
    assert "MARKETPLACE_ENABLED=false" in env
    assert "DISABLE_TELEMETRY=true" in env
    assert site.sh("dify-1", "stat -c %a /opt/dify/.env /etc/steelyard/dify.env").split() == ["600", "600"]


def test_no_secret_is_in_an_output_a_command_line_or_a_file_that_others_read(site: DifySite) -> None:
    env = dict(
        line.split("=", 1) for line in site.sh("dify-1", "grep -E '^(DB|REDIS)_PASSWORD=' /opt/dify/.env").splitlines()
    )
    secrets = {PASSWORD, KEY, *env.values()}
    seen = ""
    for call in (
        ("plan", "-vv"),
        ("drift",),
        ("dify", "ls"),
        ("dify", "check"),
        ("dify", "backup"),
        ("dify", "backups"),
    ):
        done = site.run(*call)
        seen += done.stdout + done.stderr
    assert [secret for secret in secrets if secret in seen] == []
    lines = site.sh(
        "dify-1", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done", check=False
    )
    assert [secret for secret in secrets if secret in lines] == []
    pattern = "|".join(secrets)
    places = "/etc /opt /var/lib/steelyard /var/backups /run /tmp /root /home"
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    readable = site.sh("dify-1", f"{nobody} grep -rlsaE '{pattern}' {places}", check=False)
    assert readable.strip() == ""


def test_a_plugin_s_dependencies_are_installed_where_there_is_no_network(site: DifySite, tmp_path: Path) -> None:
    """With the real uv of the daemon's container, from the cache that was seeded on this machine."""
    source = tmp_path / "source"
    source.mkdir()
    text = (
        '[project]\nname = "simulated"\nversion = "0.0.1"\nrequires-python = ">=3.11"\ndependencies = ["idna==3.10"]\n'
    )
    (source / "pyproject.toml").write_text(text)
    subprocess.run([uv_program("tests"), "lock", "--quiet"], cwd=source, check=True)
    package, cache = site.inventory.parent / "simulated.difypkg", site.inventory.parent / "simulated.cache.tar.gz"
    head = "version: 0.0.63\nauthor: langgenius\nname: openai_api_compatible\n"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("manifest.yaml", head)
        for path in source.iterdir():
            archive.write(path, path.name)
    made = steelyard("dify", "seed", str(package), "--python", "3", "-o", str(cache), "--json")
    assert made.returncode == 0, made.stderr
    sync = (
        "docker exec dify-plugin_daemon-1 sh -c 'rm -rf /tmp/p && mkdir /tmp/p && cd /tmp/p && "
        f"printf %s {base64.b64encode((source / 'pyproject.toml').read_bytes()).decode()} | base64 -d > "
        f"pyproject.toml && "
        f"printf %s {base64.b64encode((source / 'uv.lock').read_bytes()).decode()} | base64 -d > uv.lock && "
        "UV_HTTP_RETRIES=0 UV_CACHE_DIR=/app/storage/cwd/.uv-cache uv sync --frozen --no-dev 2>&1 && "
        '.venv/bin/python -c "import idna; print(idna.__version__)"\''
    )
    assert "Failed to fetch" in site.sh("dify-1", sync, check=False), "there is a network, or the file is there already"
    hashed = {"package": str(package), "sha256": hashlib.sha256(package.read_bytes()).hexdigest()}
    site.declare(plugins=[{**hashed, "cache": str(cache), "cache_sha256": json.loads(made.stdout)["sha256"]}])
    assert "dify.seed-a-plugin-s-dependencies" in site.apply()["dify-1"]
    assert site.sh("dify-1", sync).split()[-1] == "3.10"
    assert site.changed("plan") == {}
    site.declare(plugins=[plugin(site)])


HARMS = {
    "echo '# mine' >> /opt/dify/docker-compose.yaml": "dify.place-the-release",
    "sed -i s/^MARKETPLACE_ENABLED=.*/MARKETPLACE_ENABLED=true/ /opt/dify/.env": "dify.merge-env",
    "sed -i s/127.0.0.1:/0.0.0.0:/ /opt/dify/docker-compose.override.yaml": "dify.override-the-compose-file",
    f"{COMPOSE} stop worker": "dify.run-dify",
    f"{COMPOSE} rm -sf web": "dify.run-dify",
    "cd /opt/dify && sed s/127.0.0.1:/0.0.0.0:/ docker-compose.override.yaml > /root/o.yaml && "
    "docker compose -f docker-compose.yaml -f /root/o.yaml up -d --no-deps plugin_daemon": "dify.debug-port",
    "rm /var/lib/steelyard/dify/marks.json": "dify.keep-the-marks-of-the-keys",
    "systemctl stop steelyard-dify-backup.timer": "dify.make-backups-by-the-clock",
}


@pytest.mark.parametrize(("harm", "code"), HARMS.items(), ids=[str(number) for number in range(len(HARMS))])
def test_what_is_changed_by_hand_is_found_and_mended(
    site: DifySite, harm: str, code: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("manual_changes_injected", 1)
    site.sh("dify-1", f"({harm}) >/dev/null 2>&1")
    ended, codes = site.drift()
    assert ended == 2
    assert code in codes
    record_property("manual_changes_found", 1)
    site.apply()
    assert site.drift() == (0, [])
    assert site.answers()


def test_the_proxy_follows_services_that_were_made_anew_at_other_addresses(site: DifySite) -> None:
    names = ("api", "web", "plugin_daemon")
    removed = f"cd /opt/dify && {COMPOSE} rm -sf {' '.join(names)} >/dev/null 2>&1"
    image = "$(docker inspect -f '{{.Config.Image}}' dify-nginx-1)"
    taken = [f"docker run -d --name taken-{name} --network dify_default {image} sleep 900" for name in names]
    site.sh(
        "dify-1", " && ".join([removed, *taken, f"{COMPOSE} up -d --no-deps {' '.join(names)}"]) + " >/dev/null 2>&1"
    )
    try:
        site.until(lambda: site.status("/") == 502, 60)
        ended, codes = site.drift()
        assert (ended, codes) == (2, ["dify.run-dify", "unknown.what"])  # what it has nobody can tell meanwhile
        site.apply()
        assert site.answers()
        assert (site.status("/"), site.status("/e/steelyard")) == (200, 200)
        assert site.drift() == (0, [])
    finally:
        site.sh("dify-1", "docker rm -f " + " ".join(f"taken-{name}" for name in names))


def test_a_key_that_a_human_set_stays_and_one_that_nobody_knows_is_told(site: DifySite) -> None:
    site.sh("dify-1", "sed -i s/^LOG_LEVEL=.*/LOG_LEVEL=WARNING/ /opt/dify/.env && echo MY_OWN=1 >> /opt/dify/.env")
    site.apply()
    assert site.sh("dify-1", "grep -E '^(LOG_LEVEL|MY_OWN)' /opt/dify/.env").split() == [
        "LOG_LEVEL=WARNING",
        "MY_OWN=1",
    ]
    assert site.drift() == (2, ["dify.env-unknown"])
    site.sh("dify-1", "sed -i /MY_OWN/d /opt/dify/.env")
    site.apply()
    assert site.drift() == (0, [])


def test_secrets_are_renewed_the_databases_too(site: DifySite) -> None:
    before = site.sh("dify-1", "grep ^DB_PASSWORD= /opt/dify/.env")
    done = site.run("dify", "secrets", "--renew", "DB_PASSWORD", "--renew", "REDIS_PASSWORD")
    assert "2 made: " in done.stdout
    site.apply()
    assert site.sh("dify-1", "grep ^DB_PASSWORD= /opt/dify/.env") != before
    assert site.drift() == (0, [])
    assert registered(site) == ["small", "tiny"]


def test_after_a_reboot_dify_answers_and_nothing_differs(site: DifySite) -> None:
    reboot(site)
    site.until(site.answers)
    site.until(lambda: site.changed("plan") == {}, 60)
    assert registered(site) == ["small", "tiny"]


def reboot(site: DifySite) -> None:
    before = site.sh(
        "dify-1", "cat /proc/sys/kernel/random/boot_id; systemctl show --value -p UserspaceTimestampMonotonic"
    )
    site.sh("dify-1", "systemctl reboot", check=False)
    time.sleep(3)

    def back() -> bool:
        word = "cat /proc/sys/kernel/random/boot_id; systemctl show --value -p UserspaceTimestampMonotonic"
        done = steelyard("lab", "exec", "dify-1", "--name", NAME, "--", "sh", "-c", word)
        return done.returncode == 0 and done.stdout != before

    site.until(back)


def test_a_backup_is_proved_and_a_half_written_or_damaged_one_is_refused(site: DifySite) -> None:
    made = backed_up_while_cut_off(site)
    assert made["tables"]["dify"] >= 3
    archive = made["archive"]
    assert site.dify("verify", archive)["dify"] == FIRST
    site.sh("dify-1", f"head -c 2000 {archive} > /root/half.tar.gz")
    site.sh("dify-1", f"zcat {archive} | head -c -20480 | gzip > /root/unlisted.tar.gz")
    site.sh("dify-1", f"zcat {archive} | sed s/simulated/SIMULATED/ | gzip > /root/damaged.tar.gz")
    for name, told in (("half", "half written or damaged"), ("unlisted", "half written"), ("damaged", "is damaged")):
        done = site.run("dify", "restore", f"/root/{name}.tar.gz", "--yes")
        assert done.returncode == 3
        assert told in done.stderr
        assert site.answers()


def test_a_disk_that_is_full_makes_no_backup_and_harms_none(site: DifySite) -> None:
    site.sh("dify-1", "mkdir -p /mnt/small && mount -t tmpfs -o size=64k tmpfs /mnt/small")
    site.declare(plugins=[plugin(site)], backups={"folder": "/mnt/small"})
    site.apply()
    done = site.run("dify", "backup")
    assert done.returncode == 3
    assert "MiB free; the ones before are untouched" in done.stderr
    assert site.sh("dify-1", "ls -A /mnt/small").strip() == ""
    site.declare(plugins=[plugin(site)])
    site.apply()
    site.sh("dify-1", "umount /mnt/small")
    assert len(site.dify("backups")["backups"]) >= 1


def test_another_archive_than_the_declared_one_is_refused_and_nothing_is_touched(site: DifySite) -> None:
    good = site.settings["release"]
    for wrong, told in (({"sha256": "0" * 64}, "another hash"), ({"archive": "/nowhere.tar.gz"}, "cannot be had")):
        site.declare(plugins=[plugin(site)], release={**good, **wrong})
        done = site.run("apply", "--yes")
        assert done.returncode in (1, 3)
        assert told in done.stderr
    site.declare(plugins=[plugin(site)])
    assert site.changed("plan") == {}


def test_private_keys_that_are_gone_are_found_before_they_hurt(site: DifySite) -> None:
    keys = "/opt/dify/volumes/app/storage/privkeys"
    site.sh("dify-1", f"mv {keys} /root/kept")
    assert "dify.private-key" in site.drift()[1]
    site.declare(NEXT, plugins=[plugin(site)])
    for words in (("backup",), ("upgrade", "--yes")):
        done = site.run("dify", *words)
        assert done.returncode == 3
        assert "private keys" in done.stderr
    site.declare(plugins=[plugin(site)])
    site.sh(
        "dify-1",
        (
            f"mkdir -p {keys} && cp -r /root/kept/. {keys} && for f in {keys}/*/private.pem; do openssl genrsa "
            f"-out $f 2048 2>/dev/null; done"
        ),
    )
    assert "dify.private-key" in site.drift()[1], "another's key passes for the right one"
    site.sh("dify-1", f"rm -r {keys} && mv /root/kept {keys}")
    assert site.drift() == (0, [])


def test_a_migration_that_fails_is_found_by_the_rehearsal_and_nothing_stops(site: DifySite) -> None:
    site.declare(BROKEN, plugins=[plugin(site)])
    plan = site.run("plan", "-v")
    assert re.search(r"`steelyard dify upgrade -i [^`]+` moves it", plan.stdout + plan.stderr)
    started = site.sh("dify-1", "docker inspect -f '{{.State.StartedAt}}' dify-api-1")
    done = site.run("dify", "upgrade", "--yes")
    assert done.returncode == 3
    assert "the migration to 1.17.2-broken fails" in done.stderr
    assert site.sh("dify-1", "docker inspect -f '{{.State.StartedAt}}' dify-api-1") == started
    assert (
        site.sh(
            "dify-1",
            "docker ps -aq --filter label=com.docker.compose.project=dify-rehearsal; ls -d /opt/dify.rehearsal*",
            check=False,
        ).strip()
        == ""
    )
    site.declare(plugins=[plugin(site)])
    site.apply()
    assert site.drift() == (0, [])


VECTORS = {"o1": [1.0, 0.0], "o2": [0.0, 1.0]}
VOLUME = "/opt/dify/volumes/weaviate/data.json"
PSQL = f"{COMPOSE} exec -T db_postgres psql -U postgres -d dify -Atc"
MODELS_TABLE = "CREATE TABLE provider_models (tenant_id text, model_name text, model_type text)"
MODEL_ROWS = "INSERT INTO provider_models VALUES ('w', 'tiny', 'text-generation'), ('w', 'small', 'embeddings')"


def with_vectors(site: DifySite) -> None:
    """Weaviate holds a collection, and the database two models as releases before 1.14 stored them."""
    held = json.dumps({"at": "1.27.0", "collections": {"Vector_index_1_Node": VECTORS}, "broken": False})
    site.sh("dify-1", f"printf %s '{held}' > {VOLUME}")
    site.sh("dify-1", f'{PSQL} "DROP TABLE IF EXISTS provider_models" && {PSQL} "{MODELS_TABLE}"')
    site.sh("dify-1", f'{PSQL} "{MODEL_ROWS}"')
    site.dify("backup")  # the rehearsal takes the newest


def test_the_rehearsal_walks_the_vectors_and_renames_legacy_types_on_a_copy(site: DifySite) -> None:
    with_vectors(site)
    site.declare(NEXT, plugins=[plugin(site)])
    checked = site.dify("upgrade", "--rehearsal")["checked"]
    walked = "Weaviate 1.27.0 to 1.29.2: 1 collections with 2 vectors, 2 of them searched for and found"
    assert {walked, "2 rows with legacy model types have new ones"} <= set(checked)
    assert any(told.startswith("its API says `finished`") for told in checked)
    assert json.loads(site.sh("dify-1", f"cat {VOLUME}"))["at"] == "1.27.0"
    assert site.sh("dify-1", f"{PSQL} 'SELECT DISTINCT model_type FROM provider_models ORDER BY 1'").split() == [
        "embeddings",
        "text-generation",
    ]


def test_a_jump_of_weaviate_without_its_steps_is_refused_before_anything_stops(site: DifySite) -> None:
    site.declare(NEXT, plugins=[plugin(site)])
    site.declare(NEXT, plugins=[plugin(site)], release={**site.settings["release"], "weaviate_steps": []})
    done = site.run("dify", "upgrade", "--yes")
    assert done.returncode == 3
    assert "name an image for 1.28 in `dify.release.weaviate_steps`" in done.stderr
    assert site.answers()


def test_a_release_that_does_not_start_is_taken_back_with_its_data(site: DifySite) -> None:
    site.declare(MUTE, plugins=[plugin(site)])
    done = site.run("dify", "upgrade", "--yes")
    assert done.returncode == 5, done.stdout + done.stderr
    assert f"{FIRST} was restored: Dify does not come up: api ends again and again" in done.stderr, done.stderr
    assert registered(site) == ["small", "tiny"]
    site.declare(plugins=[plugin(site)])
    site.apply()
    assert site.drift() == (0, [])


def begun_upgrade(site: DifySite, version: str, step: str) -> subprocess.Popen[str]:
    """An upgrade that has come to a step."""
    site.declare(version, plugins=[plugin(site)])
    words = [STEELYARD, "dify", "upgrade", "--yes", "-i", str(site.inventory)]
    running = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert running.stderr is not None
    for line in running.stderr:
        if step in line:
            return running
    raise AssertionError("it ended before " + step)


def test_a_host_that_goes_down_in_the_middle_comes_back_with_the_old_release(site: DifySite) -> None:
    running = begun_upgrade(site, MUTE, "start it")
    time.sleep(5)  # so that the data is damaged
    running.send_signal(signal.SIGKILL)
    running.wait()
    reboot(site)
    site.until(lambda: json.loads(site.sh("dify-1", f"{HELPER} dify-progress"))["state"] == "restored", 180)
    site.until(site.answers)
    site.declare(plugins=[plugin(site)])
    site.apply()
    assert site.drift() == (0, [])
    assert registered(site) == ["small", "tiny"]


def test_an_upgrade_whose_process_is_killed_goes_back_at_once(site: DifySite) -> None:
    running = begun_upgrade(site, MUTE, "start it")
    site.sh("dify-1", "systemctl kill --signal=KILL steelyard-dify-work")
    _, said = running.communicate(timeout=300)
    assert running.returncode == 5
    assert f"{FIRST} was restored: it was cut in the middle" in said
    site.until(site.answers)
    site.declare(plugins=[plugin(site)])
    site.apply()
    assert site.drift() == (0, [])
    assert registered(site) == ["small", "tiny"]


def test_an_upgrade_goes_on_without_its_controller_and_keeps_everything(site: DifySite) -> None:
    running = begun_upgrade(site, NEXT, "stop what writes")
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    site.until(lambda: json.loads(site.sh("dify-1", f"{HELPER} dify-progress"))["state"] == "done", 180)
    told = json.loads(site.sh("dify-1", f"{HELPER} dify-progress"))
    assert (told["from"], told["to"]) == (FIRST, NEXT)
    assert told["outage"] > 0
    held = json.loads(site.sh("dify-1", f"cat {VOLUME}"))
    assert (held["at"], held["collections"], held["broken"]) == ("1.29.2", {"Vector_index_1_Node": VECTORS}, False)
    assert site.sh("dify-1", f"{PSQL} 'SELECT model_type FROM provider_models ORDER BY 1'").split() == [
        "llm",
        "text-embedding",
    ]
    site.apply()
    assert site.drift() == (0, [])
    assert registered(site) == ["small", "tiny"]
    env = site.sh("dify-1", "cat /opt/dify/.env")
    assert "LOG_LEVEL=WARNING" in env, "what a human set did not move along"
    assert "DEPLOYMENT_EDITION=COMMUNITY" in env
    assert "\nEDITION=" not in env
    again = site.run("dify", "upgrade", "--yes")
    assert (again.returncode, f"Dify {NEXT} runs, as declared" in again.stdout) == (0, True)


def test_an_empty_host_is_brought_back_from_an_archive(site: DifySite) -> None:
    archive = site.dify("backup")["archive"]
    emptied(site)
    restored = site.dify("restore", archive, "--yes")
    assert restored["dify"] == NEXT
    assert registered(site) == ["small", "tiny"]
    site.apply()
    assert site.drift() == (0, [])
    assert {each["result"] for each in site.dify("check")["models"]} == {"answered"}


def test_the_timer_s_work_proves_a_backup_and_keeps_as_many_as_declared(site: DifySite) -> None:
    site.declare(NEXT, plugins=[plugin(site)], backups={"keep": 2, "prove_every": 1})
    site.apply()
    for _ in range(2):
        site.sh("dify-1", "systemctl start steelyard-dify-backup.service")
    kept = site.dify("backups")["backups"]
    assert [each["proved"] for each in kept] == [True, True]


def test_databases_of_your_own_and_a_certificate_are_rehearsed_backed_up_and_restored_too(site: DifySite) -> None:
    own = {**own_databases(site), **over_tls(site)}
    emptied(site)
    site.declare(plugins=[plugin(site)], **own)
    site.apply()
    assert registered(site) == ["small", "tiny"]
    assert site.drift() == (0, [])
    assert "db_postgres" not in site.sh("dify-1", f"{COMPOSE} ps --services")
    small, large = https_codes(site)
    assert (small != "413", large) == (True, "413")
    site.declare(NEXT, plugins=[plugin(site)], **own)
    as_owner(site, "ALTER ROLE dify NOCREATEDB")  # a restore could drop a database and not make it again
    refused = site.run("dify", "upgrade", "--rehearsal")
    assert (refused.returncode, "`dify` may not create databases" in refused.stderr) == (3, True), refused.stderr
    as_owner(site, "ALTER ROLE dify CREATEDB")
    rehearsed = site.run("dify", "upgrade", "--rehearsal")
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert as_owner(site, "SELECT datname FROM pg_database WHERE datname LIKE 'steelyard%'") == ""
    archive = site.dify("backup")["archive"]
    as_owner(site, "UPDATE double_state SET body = 'damaged'", "dify")
    site.dify("restore", archive, "--yes")
    assert registered(site) == ["small", "tiny"]
