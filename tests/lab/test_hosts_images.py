"""Docker and registries with no way out: pulls through the mirror, containers that outlive an apply, mirrors that
fail.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path

import pytest
from gpu_hosts import PROBE, apply, drift, plan, run, settings, write
from support.dear import dear
from support.lab_site import Site, steelyard
from support.oci_image import make_image

pytestmark = [pytest.mark.hosts, dear(1, 3, "STEELYARD_HOSTS")]


def started(site: Site, host: str, name: str) -> str:
    return site.sh(host, f"docker inspect -f '{{{{.Id}}}} {{{{.State.StartedAt}}}}' {name}").strip()


@pytest.mark.parametrize("host", ["gpu-1", "gpu-2"])
def test_a_docker_hub_name_comes_from_the_mirror(gpu_site: Site, host: str) -> None:
    gpu_site.sh(host, f"docker rmi -f {PROBE} simulated:1 2>/dev/null; docker pull -q {PROBE}")
    assert PROBE.split(":")[0].split("/")[1] in gpu_site.sh(host, "docker images --format '{{.Repository}}'")


@pytest.mark.parametrize("host", ["gpu-1", "gpu-2"])
def test_a_running_container_survives_a_restart_of_the_daemon_and_the_plan_says_so(gpu_site: Site, host: str) -> None:
    gpu_site.sh(host, f"docker pull -q {PROBE}; docker run -d --name kept {PROBE}")
    before = started(gpu_site, host, "kept")
    everything = settings(gpu_site)
    try:
        write(gpu_site, {**everything, "docker": {"source": "distro", "daemon": {"log-opts": {"max-size": "5m"}}}})
        told = run(gpu_site, "plan", "-v", "-l", host).stdout
        assert "a restart, 1 running containers stay: live-restore" in told
        pid = gpu_site.sh(host, "systemctl show docker --property=MainPID --value")
        apply(gpu_site, "-l", host)
        assert gpu_site.sh(host, "systemctl show docker --property=MainPID --value") != pid
        assert started(gpu_site, host, "kept") == before
        assert gpu_site.sh(host, "docker inspect -f '{{.State.Running}}' kept").strip() == "true"
        write(
            gpu_site,
            {
                **everything,
                "docker": {"source": "distro", "daemon": {"live-restore": False, "log-opts": {"max-size": "6m"}}},
            },
        )
        assert "live-restore" in run(gpu_site, "plan", "-v", "-l", host).stdout
    finally:
        write(gpu_site, everything)
        apply(gpu_site, "-l", host)
        gpu_site.sh(host, "docker rm -f kept")


def test_without_live_restore_the_plan_names_the_containers_that_a_restart_stops(gpu_site: Site) -> None:
    everything = settings(gpu_site)
    without = {"live-restore": False}
    try:
        write(gpu_site, {**everything, "docker": {"source": "distro", "daemon": without}})
        apply(gpu_site, "-l", "gpu-2")
        gpu_site.sh("gpu-2", f"docker run -d --name victim {PROBE}")
        write(gpu_site, {**everything, "docker": {"source": "distro", "daemon": {**without, "log-driver": "local"}}})
        assert "STOPS 1 running containers: victim" in run(gpu_site, "plan", "-v", "-l", "gpu-2").stdout
    finally:
        gpu_site.sh("gpu-2", "docker rm -f victim")
        write(gpu_site, everything)
        apply(gpu_site, "-l", "gpu-2")


def test_foreign_keys_stay_and_keys_of_ours_go_when_they_are_not_declared_any_more(gpu_site: Site) -> None:
    file = "/etc/docker/daemon.json"
    add = (
        f"python3 -c \"import json; p='{file}'; d=json.load(open(p)); d['max-concurrent-downloads']=7; "
        f"json.dump(d, open(p,'w'))\""
    )
    gpu_site.sh("gpu-1", add)
    everything = settings(gpu_site)
    try:
        write(gpu_site, {**everything, "docker": {"source": "distro", "daemon": {"max-concurrent-uploads": 3}}})
        apply(gpu_site, "-l", "gpu-1")
        found = json.loads(gpu_site.sh("gpu-1", f"cat {file}"))
        assert (found["max-concurrent-downloads"], found["max-concurrent-uploads"]) == (7, 3)
    finally:
        write(gpu_site, everything)
        apply(gpu_site, "-l", "gpu-1")
    found = json.loads(gpu_site.sh("gpu-1", f"cat {file}"))
    assert (found["max-concurrent-downloads"], "max-concurrent-uploads" in found) == (7, False)
    assert plan(gpu_site, "-l", "gpu-1") == {}


def test_a_comment_in_the_file_is_refused_with_its_line_and_nothing_is_touched(gpu_site: Site) -> None:
    file = "/etc/docker/daemon.json"
    gpu_site.sh("gpu-2", f"cp {file} /root/kept && sed -i '2i // by hand' {file}")
    try:
        before = gpu_site.sh("gpu-2", f"sha256sum {file}")
        refused = run(gpu_site, "apply", "--yes", "-l", "gpu-2")
        assert refused.returncode == 3
        assert "line 2 has a comment, and JSON has none" in refused.stderr
        assert gpu_site.sh("gpu-2", f"sha256sum {file}") == before
    finally:
        gpu_site.sh("gpu-2", f"cp /root/kept {file}")
    assert plan(gpu_site, "-l", "gpu-2") == {}


def test_a_pull_through_registry_that_starts_without_its_upstream_serves_its_cache(gpu_site: Site) -> None:
    """Debian's docker-registry panics there; this one comes back to pulling through by itself."""
    gpu_site.sh("gpu-1", f"docker pull -q {PROBE}")  # so that it is in the cache
    gpu_site.sh("mirror-1", "systemctl stop steelyard-registry@pushed && systemctl restart steelyard-registry@hub")
    wait = "for n in $(seq 100); do curl -sf -o /dev/null http://127.0.0.1:5001/v2/ && exit 0; sleep 0.1; done; exit 1"
    try:
        gpu_site.sh("mirror-1", wait)
        gpu_site.sh("gpu-1", f"docker rmi -f {PROBE} && docker pull -q {PROBE}")
        codes = {finding["code"]: finding for finding in drift(gpu_site, "-l", "mirror-1")[1]}
        assert "serves its cache only" in codes["registry_mirror.pulls-through"]["live"]
    finally:
        gpu_site.sh("mirror-1", "systemctl start steelyard-registry@pushed")
    back = (
        "for n in $(seq 300); do curl -si http://127.0.0.1:5001/v2/ | grep -qi 'x-steelyard-mode: through' && "
        "exit 0; sleep 0.2; done; exit 1"
    )
    gpu_site.sh("mirror-1", back)
    assert drift(gpu_site, "-l", "mirror-1") == (0, [])


def test_a_registry_that_was_started_answers_so_that_another_may_pull_through_it(gpu_site: Site) -> None:
    started = "systemctl restart steelyard-registry@{0} && curl -si http://127.0.0.1:{1}/v2/ | grep -i x-steelyard-mode"
    for name, port, mode in (("pushed", 5000, "pushed"), ("hub", 5001, "through")):
        for _ in range(5):
            assert gpu_site.sh("mirror-1", started.format(name, port)).split()[-1] == mode


def test_a_collection_leaves_every_platform_of_what_has_a_tag_and_proves_it(gpu_site: Site, tmp_path: Path) -> None:
    """Debian's docker-registry removes the platforms of each image for several, and the tag leads nowhere then."""
    images = [make_image(tmp_path / seed, seed) for seed in ("one", "two")]
    push = "skopeo copy -q --all --dest-tls-verify=false oci:/root/images/{0}:v docker://127.0.0.1:5000/lab/{1}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(tmp_path, "images")
    gpu_site.sh("mirror-1", f"echo {base64.b64encode(packed.getvalue()).decode()} | base64 -d | tar -C /root -xz")
    for layout, name in (("one", "both:1"), ("two", "both:1"), ("one", f"untagged@{images[0].digest}")):
        gpu_site.sh("mirror-1", push.format(layout, name))
    store = "/var/lib/steelyard-registry/pushed"
    young = gpu_site.sh("mirror-1", "/usr/lib/steelyard/registry-gc pushed 0")
    assert "something is pushed to" in young
    age = f"find {store} \\( -name link -o -name startedat \\) -exec touch -d '-2 days' {{}} +"
    told = gpu_site.sh("mirror-1", f"{age}; /usr/lib/steelyard/registry-gc pushed 0 --plan")
    old = {images[0].digest, *images[0].platforms.values()}
    goes = {f"lab/{name}@{digest}" for name in ("both", "untagged") for digest in old}
    assert {line.split()[1] for line in told.splitlines() if "goes: no tag" in line} == goes
    done = gpu_site.sh("mirror-1", "/usr/lib/steelyard/registry-gc pushed 0")
    assert "images and platforms of them proven" in done
    pull = "skopeo copy -q --override-arch {0} --src-tls-verify=false docker://127.0.0.1:5000/lab/both:1 dir:/root/{0}"
    for platform in images[1].platforms:
        gpu_site.sh("mirror-1", pull.format(platform))
    gone = "skopeo inspect --raw --tls-verify=false docker://127.0.0.1:5000/lab/both@{0} 2>&1 || true"
    for digest in old:
        assert "manifest unknown" in gpu_site.sh("mirror-1", gone.format(digest))
    gpu_site.sh("gpu-1", f"docker rmi -f {PROBE} && docker pull -q {PROBE}")
    assert drift(gpu_site, "-l", "mirror-1") == (0, [])


def test_of_several_mirrors_the_dead_one_is_last_for_every_client_and_told(gpu_site: Site) -> None:
    mirror, everything = gpu_site.address("mirror-1"), settings(gpu_site)
    dead, second = f"http://{mirror}:59", f"http://{mirror}:5000"
    more = {**everything["registry_mirror"], "mirrors": {"docker.io": [dead, second]}}
    write(gpu_site, {**everything, "registry_mirror": more})
    try:
        apply(gpu_site, "-l", "gpu-1")
        listed = json.loads(gpu_site.sh("gpu-1", "cat /etc/docker/daemon.json"))["registry-mirrors"]
        assert (len(listed), listed[-1]) == (3, dead)
        for file in (
            "/etc/containerd/certs.d/docker.io/hosts.toml",
            "/etc/containers/registries.conf.d/50-steelyard.conf",
        ):
            hosts = [line for line in gpu_site.sh("gpu-1", f"cat {file}").splitlines() if mirror in line]
            assert (len(hosts), ":59" in hosts[-1]) == (3, True)
        assert plan(gpu_site, "-l", "gpu-1") == {}
        told = [finding["subject"] for finding in drift(gpu_site, "-l", "gpu-1")[1]]
        assert told == [dead]
    finally:
        write(gpu_site, everything)
        apply(gpu_site, "-l", "gpu-1")


def test_images_sync_copies_by_digest_and_the_second_time_nothing(gpu_site: Site, tmp_path: Path) -> None:
    mirror = gpu_site.address("mirror-1")
    digest = (
        gpu_site.sh("gpu-1", f"docker inspect -f '{{{{index .RepoDigests 0}}}}' {mirror}:5000/{PROBE}")
        .strip()
        .split("@")[1]
    )
    listed = tmp_path / "images.yml"
    listed.write_text(f"- {{image: '{mirror}:5001/{PROBE}@{digest}', insecure: true}}\n")
    everything = settings(gpu_site)
    registries = everything["registry_mirror"]["registries"]
    more = {**everything["registry_mirror"], "registries": {**registries, "carried": {"port": 5002}}}
    write(gpu_site, {**everything, "registry_mirror": more})
    try:
        apply(gpu_site)
        words = ("mirror", "images", "sync", str(listed), "-i", str(gpu_site.inventory), "--registry", "carried")
        first, second = steelyard(*words), steelyard(*words)
        assert (first.returncode, f"{PROBE}@{digest}: copied" in first.stdout) == (0, True), first.stderr
        assert (second.returncode, f"{PROBE}@{digest}: there" in second.stdout) == (0, True)
        listed.write_text(f"- alpine:latest\n- {{image: '{mirror}:5001/{PROBE}@{digest}'}}\n")
        wrong = steelyard(*words)
        assert (wrong.returncode, f"{listed}:1: 'alpine:latest' is no image by digest" in wrong.stderr) == (1, True)
    finally:
        write(gpu_site, everything)
        gpu_site.sh(
            "mirror-1", "systemctl disable --now steelyard-registry@carried steelyard-registry-gc@carried.timer"
        )
        apply(gpu_site)


def test_preflight_measures_every_host_and_every_link(gpu_site: Site, tmp_path: Path) -> None:
    page = tmp_path / "preflight.html"
    done = steelyard("preflight", "-i", str(gpu_site.inventory), "--json", "--html", str(page))
    answer = json.loads(done.stdout)
    assert done.returncode == 2, done.stderr  # a lab is below any floor
    names = {host["host"]: {each["name"]: each for each in host["measures"]} for host in answer["hosts"]}
    assert set(names) == {"mirror-1", "gpu-1", "gpu-2", "bare-1"}
    rates = [(host, name) for host, each in names.items() for name in each if name.startswith("rate to ")]
    assert len(rates) == 6  # every pair once
    assert all(names[host][name]["value"] > 0.1 for host, name in rates)
    assert all(each["disk read"]["value"] > 0 for each in names.values())
    assert names["gpu-1"]["PCIe width of 0000:18:00.0"]["live"] == "16 lanes"
    assert page.read_text().count('class="bar"') >= 20
