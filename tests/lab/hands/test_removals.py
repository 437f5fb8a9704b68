"""What leaves the declaration leaves the site: found before, removed in the order that fails nobody, and 0 references
after. What comes is served by the gateways with one command.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from support.dear import dear
from support.hands_site import GPUS, HandsSite, count
from support.lab_site import steelyard
from support.leftovers import in_dify, in_records, key_hash, listening, on_hosts

HOSTS = ("mirror-1", "gw-1", *GPUS)
OTHERS = ("mirror-1", "gw-1", "gpu-1", "gpu-2")


@contextmanager
def kept_inventory(site: HandsSite, tmp_path: Path) -> Iterator[None]:
    """The inventory as it is, put back at the end."""
    before = Path(shutil.copytree(site.inventory, tmp_path / "before", symlinks=True))
    try:
        yield
    finally:
        shutil.rmtree(site.inventory)
        shutil.copytree(before, site.inventory, symlinks=True)


def findings(site: HandsSite, *words: str) -> dict[str, str]:
    """Subjects of drift's findings with their codes."""
    return {row["subject"]: row["code"] for row in site.json("drift", *words)["findings"]}


def declare(site: HandsSite, alias: str, **section: object) -> None:
    declared = yaml.safe_load(site.models_path.read_text())
    declared["models"][f"gguf/{alias}"] |= section
    site.models_path.write_text(yaml.safe_dump(declared))


def out_of_hosts(site: HandsSite, name: str) -> None:
    """Delete a host from the inventory's list of hosts."""
    path = site.inventory / "hosts.yml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if f"{name}:" not in line))


def removed(site: HandsSite, *words: str) -> dict[str, object]:
    done = site.json(" ".join(words))
    assert (done["exit"], done["errors"]) == (0, []), done
    return done


def came_back(site: HandsSite, name: str) -> None:
    """The host is known again and serves what is declared, with one command."""
    recorded = steelyard("doctor", "-i", str(site.inventory), "-l", name, "--record-keys", "--yes")
    assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    site.apply("-l", name, "--with-gateway")


def in_sync(site: HandsSite) -> None:
    """Nothing is left to remove, to add, or to tell."""
    assert findings(site) == {}
    assert site.changed("plan", "--prune") == {}


def test_a_service_of_two_replicas_with_its_model_and_a_client(hands: HandsSite, tmp_path: Path) -> None:
    key = "sk-wombat-0123456789"
    with kept_inventory(hands, tmp_path):
        clients = hands.roles_path.read_text()
        assert "  clients:\n" in clients
        hands.roles_path.write_text(clients.replace("  clients:\n", f"  clients:\n    wombat: {key}\n", 1))
        hands.serve("quokka", "gpu-1:gpu-2", 8012)
        declare(hands, "quokka", dify={"context_size": 4096})
        hands.apply()
        assert in_dify(hands, ["quokka"]) == ["quokka"]
        assert listening(hands, 8012, GPUS) == ["gpu-1", "gpu-2"]
        assert on_hosts(hands, [key_hash(key)], ["gw-1"]) != []
        hands.roles_path.write_text(clients)
        hands.unserve("quokka")
        told = findings(hands)
        assert told["steelyard-llamacpp@quokka.service"] == "vllm.stop-what-is-declared-no-more"
        assert told["Dify model quokka (remove)"] == "dify.take-models-out-of-dify"
        assert told["/etc/haproxy/steelyard-keys.map"] == "gateway.write-the-clients"
        with hands.load("pair") as others, hands.load("quokka", texts={}) as own:
            said = hands.apply()
        order = [said.index(words) for words in ("Take models out", "Route to no alias", "Stop what is declared no")]
        assert order == sorted(order), said
        assert (others.counts.failed, others.counts.mixed) == (0, 0), others.counts.reasons
        assert {reason[:3] for reason in own.counts.reasons} == {"404"}, own.counts.reasons
        left = findings(hands)
        assert left["/models/gguf/quokka/v1"] == "model_store.undeclared-model"
        assert left["what service quokka left"] == "vllm.left-behind"
        hands.apply("--prune")
        in_sync(hands)
        words = ["quokka", "wombat", key_hash(key)]
        scanned = on_hosts(hands, words, HOSTS) + in_records(hands, words) + in_dify(hands, words)
        scanned += listening(hands, 8012, GPUS)
        assert scanned == []
        assert hands.changed("apply", "--prune", "--yes") == {}
    count(removals=4, left_references=len(scanned), failed_requests=others.counts.failed)


@dear(1, 6, "STEELYARD_HANDS")
def test_a_host_that_is_declared(hands: HandsSite, tmp_path: Path) -> None:
    words = ["gpu-3", hands.address("gpu-3")]
    with kept_inventory(hands, tmp_path):
        with hands.load("pair") as load:
            done = removed(hands, "host", "remove", "gpu-3", "--last", "--yes")
        assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
        places = {Path(entry["where"].rsplit(":", 1)[0]).name for entry in done["named"]}
        assert places == {"hosts.yml", "models.yml"}
        out_of_hosts(hands, "gpu-3")
        hands.unserve("solo")
        scanned = on_hosts(hands, [*words, "alias-solo", "gguf/solo"], OTHERS) + in_records(hands, words)
        ours = ["steelyard-llamacpp@", "steelyard-host.pyz", "steelyard-front.service", "gguf/"]
        scanned += on_hosts(hands, ours, ["gpu-3"]) + listening(hands, 8011, ["gpu-3"])
        assert scanned == []
        in_sync(hands)
    came_back(hands, "gpu-3")
    with hands.load("solo", texts={}) as solo:
        in_sync(hands)
    assert (solo.counts.failed, solo.counts.requests > 0) == (0, True), solo.counts.reasons
    count(removals=1, left_references=len(scanned), failed_requests=load.counts.failed)


def refusal(site: HandsSite, *words: str) -> str:
    """What a command says that touches nothing."""
    done = steelyard(*words, "-i", str(site.inventory), "--yes")
    assert done.returncode in (1, 3), done.stdout + done.stderr
    return done.stderr


def test_what_is_refused(hands: HandsSite, tmp_path: Path) -> None:
    assert "there is no host `gpu-33`, and nobody remembers one" in refusal(hands, "host", "remove", "gpu-33")
    assert "gpu-3 serves the last replica of alias `solo`" in refusal(hands, "host", "remove", "gpu-3")
    assert "gw-1 is the last host of group `gateway`" in refusal(hands, "host", "remove", "gw-1")
    assert "gguf/pair v1 is declared" in refusal(hands, "models", "rm", "gguf/pair")
    assert "gguf/pair v1 is declared" in refusal(hands, "models", "rm", "gguf/pair@v1")
    assert "has no version `v9`" in refusal(hands, "models", "rm", "gguf/pair", "v9")
    with kept_inventory(hands, tmp_path):
        path = hands.inventory / "hosts.yml"
        path.write_text(path.read_text().replace("gpu-3: {", "gpu-3: {ansible_port: 1, "))
        said = refusal(hands, "host", "remove", "gpu-3", "--last")
        assert "gpu-3 does not answer at" in said
        assert "`--dead`" in said
    in_sync(hands)


@dear(0, 6, "STEELYARD_HANDS")
def test_one_of_two_replicas(hands: HandsSite, tmp_path: Path) -> None:
    with kept_inventory(hands, tmp_path):
        hands.serve("pair", "gpu-1", 8010)
        assert findings(hands)["steelyard-llamacpp@pair.service"] == "vllm.stop-what-is-declared-no-more"
        with hands.load("pair") as load:
            hands.apply()
        assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
        assert listening(hands, 8010, GPUS) == ["gpu-1"]
        assert on_hosts(hands, ["alias-pair/gpu-2"], ["gw-1"]) == []
        assert [line for line in on_hosts(hands, ["@pair"], ["gpu-2"]) if "/models/" not in line] == []
        assert set(findings(hands).values()) == {"vllm.left-behind", "model_store.undeclared-model"}
    with hands.load("pair") as back:
        hands.apply()
    assert (back.counts.failed, back.counts.mixed) == (0, 0), back.counts.reasons
    in_sync(hands)
    count(removals=1, left_references=0, failed_requests=load.counts.failed + back.counts.failed)


@dear(4, 6, "STEELYARD_HANDS")
def test_a_host_that_left_the_inventory(hands: HandsSite, tmp_path: Path) -> None:
    words = ["gpu-3", hands.address("gpu-3")]
    with kept_inventory(hands, tmp_path):
        hands.apply()
        out_of_hosts(hands, "gpu-3")
        hands.unserve("solo")
        assert findings(hands)["host gpu-3"] == "base.undeclared-host"
        elsewhere = steelyard("drift", "-i", str(hands.inventory), XDG_STATE_HOME=str(tmp_path / "another"))
        assert "gpu-3" in elsewhere.stdout, elsewhere.stdout
        with hands.load("pair") as load:
            assert removed(hands, "host", "remove", "gpu-3", "--yes")["named"] == []
        assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
        scanned = on_hosts(hands, words, OTHERS) + in_records(hands, words)
        assert scanned == []
        in_sync(hands)
    came_back(hands, "gpu-3")
    in_sync(hands)
    count(removals=1, left_references=len(scanned), failed_requests=load.counts.failed)


@dear(2, 6, "STEELYARD_HANDS")
def test_a_gateway_of_two(hands: HandsSite, tmp_path: Path) -> None:
    with kept_inventory(hands, tmp_path):
        path = hands.inventory / "hosts.yml"
        declared = yaml.safe_load(path.read_text())
        declared["all"]["children"]["gateway"]["hosts"]["gpu-3"] = {}
        path.write_text(yaml.safe_dump(declared))
        hands.apply()
        assert listening(hands, 8080, ["gw-1", "gpu-3"]) == ["gw-1", "gpu-3"]
    assert findings(hands)["gateway of this host"] == "gateway.be-a-gateway-no-more"
    with hands.load("pair") as load:
        hands.apply()
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
    assert listening(hands, 8080, ["gw-1", "gpu-3"]) == ["gw-1"]
    scanned = on_hosts(hands, ["role gateway", "alias-pair", key_hash(hands.secrets["demo_client_key"])], ["gpu-3"])
    assert scanned == []
    in_sync(hands)
    count(removals=1, left_references=len(scanned), failed_requests=load.counts.failed)


@dear(3, 6, "STEELYARD_HANDS")
def test_a_model_that_is_only_stored(hands: HandsSite, tmp_path: Path) -> None:
    with kept_inventory(hands, tmp_path):
        hands.serve("okapi", "gpu-1", 8013)
        declared = yaml.safe_load(hands.models_path.read_text())
        okapi = declared["models"]["gguf/okapi"]
        declared["models"]["gguf/okapi"] = {key: okapi[key] for key in ("source", "version")} | {"hosts": "gpu-1"}
        hands.models_path.write_text(yaml.safe_dump(declared))
        hands.apply("-l", "gpu-1")
        hands.unserve("okapi")
        assert findings(hands)["/models/gguf/okapi/v1"] == "model_store.undeclared-model"
        gone = hands.json("models rm", "gguf/okapi", "--yes")
        assert {row["host"]: row["removed"] for row in gone["hosts"] if row["removed"]} == {"gpu-1": ["gguf/okapi@v1"]}
        scanned = on_hosts(hands, ["okapi"], GPUS)
        assert scanned == []
        in_sync(hands)
    count(removals=1, left_references=len(scanned))


@dear(5, 6, "STEELYARD_HANDS")
def test_a_new_replica_gets_requests_with_one_command(hands: HandsSite, tmp_path: Path) -> None:
    with kept_inventory(hands, tmp_path):
        hands.serve("pair", "gpu-1:gpu-2:gpu-3", 8010)
        assert "--with-gateway" in hands.apply("-l", "gpu-3")
        told = findings(hands, "-l", "gpu-3")
        assert told == {"pair at gateway gw-1": "gateway.knows-the-service"}
        hands.apply("-l", "gpu-3", "--with-gateway")
        assert findings(hands, "-l", "gpu-3") == {}
        before = hands.helper("gw-1", "haproxy", "/run/haproxy/admin.sock")["answers"]["alias-pair/gpu-3"][0]
        with hands.load("pair") as load:
            in_sync(hands)
        after = hands.helper("gw-1", "haproxy", "/run/haproxy/admin.sock")["answers"]["alias-pair/gpu-3"][0]
        assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
        assert after > before
    with hands.load("pair") as load:
        hands.apply("--prune")
    assert (load.counts.failed, load.counts.mixed) == (0, 0), load.counts.reasons
    in_sync(hands)
    count(removals=1, failed_requests=load.counts.failed)
