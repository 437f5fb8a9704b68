"""Each role on real hosts: applied once, the second time nothing, and every harm noticed by its task and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.lab_site import Site, assert_converges, steelyard


def test_second_apply_changes_nothing(site: Site) -> None:
    assert site.changed("apply", "--yes") == {}


def test_base_converges(site: Site) -> None:
    assert_converges(
        site,
        {
            ("gpu-1", "chmod 2777 /etc/steelyard"): ["base.make-the-configuration-folder"],
            ("gw-1", "rm /usr/lib/steelyard/steelyard-host.pyz"): [
                "base.install-the-host-helper",
                "gateway.load-the-gateway-s-configuration",
            ],
            ("mirror-1", "usermod -s /bin/sh steelyard-engine"): ["base.make-the-engine-account"],
            ("gpu-1", "chgrp daemon /etc/steelyard/services"): ["base.make-the-folder-of-services"],
        },
    )


def test_package_mirror_converges(site: Site) -> None:
    assert_converges(
        site,
        {
            ("mirror-1", "systemctl stop apt-cacher-ng"): ["package_mirror.run-the-apt-cache"],
            ("mirror-1", "rm -r /srv/steelyard/wheels/simple"): ["package_mirror.index-the-wheels"],
            ("mirror-1", "echo '# by hand' >> /etc/nginx/conf.d/steelyard-wheels.conf"): [
                "package_mirror.configure-the-wheel-server"
            ],
            ("gpu-1", "echo '[global]' > /etc/pip.conf"): ["package_client.point-pip-at-the-mirror"],
            ("gw-1", "rm /etc/apt/apt.conf.d/01steelyard-mirror"): ["package_client.point-apt-at-the-mirror"],
        },
    )


def test_model_store_converges(site: Site) -> None:
    assert_converges(
        site,
        {
            ("gpu-1", "ln -sfn nowhere /models/llm/tiny/current"): ["model_store.switch-current-to-the-version"],
            ("gpu-1", "cd /models/llm/tiny/v1 && chmod 644 config.json && echo ' ' >> config.json"): [
                "model_store.publish-the-version"
            ],
            ("gpu-1", "touch /models/llm/tiny/v1/added-by-hand.py"): ["model_store.publish-the-version"],
        },
    )


def test_vllm_front_converges(site: Site) -> None:
    assert_converges(
        site,
        {
            ("gpu-1", "systemctl stop steelyard-front"): ["vllm.run-the-front", "vllm.load-the-front-s-configuration"],
            ("gpu-1", "sed -i 's/maxconn 1000/maxconn 10/' /etc/steelyard/front.cfg"): ["vllm.configure-the-front"],
            ("gpu-1", "chmod 0644 /etc/steelyard/front-key.map"): ["vllm.write-the-key-that-the-front-accepts"],
        },
    )


def test_service_that_runs_an_older_configuration_is_restarted(site: Site) -> None:
    """The file is as declared, and the process was started with another: files alone would not show it."""
    assert_converges(
        site,
        {
            (
                "gpu-1",
                "f=/etc/steelyard/services/tiny.env; cp -p $f /root/env && echo STEELYARD_CONFIG=older >> $f && "
                "systemctl restart steelyard-vllm@tiny && cp -p /root/env $f",
            ): ["vllm.run-the-service"],
        },
    )


def test_gateway_converges(site: Site) -> None:
    assert_converges(
        site,
        {
            ("gw-1", "sed -i 's/maxconn 2000/maxconn 20/' /etc/haproxy/haproxy.cfg"): ["gateway.configure-the-gateway"],
            (
                "gw-1",
                "cp /etc/haproxy/haproxy.cfg /root/kept && sed -i 's/^    setenv .*/    setenv "
                'STEELYARD_CONFIG "older"/\' '
                "/etc/haproxy/haproxy.cfg && systemctl reload haproxy && for n in $(seq 100); do "
                "python3 -I /usr/lib/steelyard/steelyard-host.pyz haproxy /run/haproxy/admin.sock | grep "
                "-q older && break; "
                "sleep 0.1; done; cp /root/kept /etc/haproxy/haproxy.cfg",
            ): ["gateway.load-the-gateway-s-configuration"],
            ("gw-1", "systemctl disable --now haproxy"): [
                "gateway.run-the-gateway",
                "gateway.load-the-gateway-s-configuration",
            ],
        },
    )


def test_dify_registration_converges(site: Site) -> None:
    """A human disables the model and points it elsewhere; both are found and mended."""
    harm = (
        'systemctl stop lab-dify && python3 -c "'
        "import json,glob; p=glob.glob('/var/lib/private/lab-dify/state.json')[0]; s=json.load(open(p)); "
        "e=[m for m in s['models'].values() if m['credentials']][0]; e['enabled']=False; "
        "e['credentials'][0]['values']['endpoint_url']='http://elsewhere/v1'; json.dump(s,open(p,'w'))\" && "
        "systemctl start lab-dify && sleep 1"
    )
    assert_converges(site, {("gw-1", harm): ["dify.register-the-models"]})


def test_a_registered_model_answers_a_user_of_dify(site: Site) -> None:
    """An app of its own, asked through Dify's service API, the gateway and the engine; and removed."""
    done = steelyard("dify", "check", "-i", str(site.inventory), "--json")
    assert done.returncode == 0, done.stderr
    assert [(each["model"], each["result"]) for each in json.loads(done.stdout)["models"]] == [("tiny", "answered")]
    assert site.changed("plan") == {}


def test_drift_ends_with_2_and_names_the_file_and_the_unit(site: Site) -> None:
    site.sh("gw-1", "sed -i 's/maxconn 2000/maxconn 20/' /etc/haproxy/haproxy.cfg")
    site.sh("gpu-1", "systemctl stop steelyard-front")
    done = steelyard("drift", "-i", str(site.inventory))
    assert done.returncode == 2
    assert "gw-1: differs: /etc/haproxy/haproxy.cfg" in done.stdout
    assert "declared: `maxconn 2000`; live: `maxconn 20`" in done.stdout
    assert "gpu-1: differs: steelyard-front.service" in done.stdout
    assert "fix: steelyard apply" in done.stdout
    applied = site.json("apply", "--yes")
    assert (applied["exit"], [host["unknown"] for host in applied["hosts"]]) == (0, [[], [], []])
    assert sorted(host["host"] for host in applied["hosts"] if host["tasks"]) == ["gpu-1", "gw-1"]
    assert steelyard("drift", "-i", str(site.inventory)).returncode == 0


def test_in_sync_hosts_cost_one_connection_one_channel_one_round_trip(site: Site) -> None:
    site.json("drift")  # the list of facts is of the last run; drift asks more than a plan
    answer = site.json("drift")
    assert answer["exit"] == 0
    costs = {
        host["host"]: (host["ssh"]["connections"], host["ssh"]["channels"], host["ssh"]["round_trips"])
        for host in answer["hosts"]
    }
    assert costs == {"mirror-1": (1, 1, 1), "gw-1": (1, 1, 1), "gpu-1": (1, 1, 1)}
    site.changed("plan")
    applied = site.json("apply", "--yes")
    assert {host["ssh"]["round_trips"] for host in applied["hosts"]} == {1}
    assert all(host["ssh"]["facts"] > 10 for host in answer["hosts"])


@pytest.mark.parametrize("command", ["plan", "drift"])
def test_a_look_from_a_runner_that_knows_nothing_costs_three_round_trips(
    site: Site, tmp_path: Path, command: str
) -> None:
    cold = steelyard(command, "-i", str(site.inventory), "--json", XDG_CACHE_HOME=str(tmp_path))
    hosts = json.loads(cold.stdout)["hosts"]
    assert [host["error"] for host in hosts] == [None] * 3
    assert {host["host"]: host["ssh"]["round_trips"] for host in hosts if host["ssh"]["round_trips"] > 3} == {}
    assert [host["ssh"]["facts"] > 10 for host in hosts] == [True] * 3


def test_stale_prefetch_list_costs_time_and_never_truth(site: Site) -> None:
    from steelyard.dirs import cache_folder

    for kept in (cache_folder() / "prefetch").glob("*.json"):
        kept.write_text('["echo stale", "exit 3"]')  # the second one ends the shell
    answer = site.json("drift")
    assert answer["exit"] == 0, answer
    assert {host["ssh"]["round_trips"] > 1 for host in answer["hosts"]} == {True}
