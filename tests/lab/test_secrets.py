"""The lab's secrets are canaries: no output, log, command line or readable file anywhere may hold one."""

from __future__ import annotations

from pathlib import Path

from support.lab_site import Site, steelyard

from steelyard.dirs import cache_folder
from steelyard.serving.service_keys import service_key

ALLOWED = {
    "gpu-1": set(),
    "gw-1": {
        "/etc/haproxy/steelyard-engine.map",
        "/opt/steelyard-lab/dify-admin",
        "/var/lib/private/lab-dify/state.json",
    },
    "mirror-1": set(),
}


def test_no_output_of_any_command_holds_a_secret(site: Site, tmp_path: Path) -> None:
    broken = site.copy(tmp_path)
    roles = broken / "group_vars/all/roles.yml"
    roles.write_text(roles.read_text() + "\n")
    (broken / "group_vars/all/more.yml").write_text("base: {open_files: 4096}\n")
    site.sh(
        "gw-1", "echo changed > /etc/haproxy/steelyard-engine.map"
    )  # a secret file that differs: its diff must not be shown
    inventory = str(site.inventory)
    calls = [
        ("plan", "-i", inventory, "-vv"),
        ("plan", "-i", inventory, "--json"),
        ("plan", "-i", str(broken), "-v"),
        ("drift", "-i", inventory),
        ("drift", "-i", inventory, "--json"),
        ("apply", "-i", inventory, "--yes", "-vv"),
        ("status", "-i", inventory, "--json"),
        ("dify", "ls", "-i", inventory, "--json"),
        ("doctor", "-i", inventory),
    ]
    seen = ""
    for call in calls:
        done = steelyard(*call)
        seen += done.stdout + done.stderr
    assert "steelyard-engine.map" in seen
    for name, secret in secrets_of(site).items():
        assert secret not in seen, name
    assert site.changed("plan") == {}


def secrets_of(site: Site) -> dict[str, str]:
    """Those of the inventory, and the key that is made of one."""
    return {**site.secrets, "key of tiny": service_key(site.secrets["engine_key"], "tiny")}


def test_no_file_that_others_can_read_and_no_command_line_holds_a_secret(site: Site) -> None:
    for host, allowed in ALLOWED.items():
        pattern = "|".join(secrets_of(site).values())
        places = "/etc /opt/steelyard-lab /var/lib /var/log /run /tmp /root /home /usr/lib/steelyard /models"
        found = site.sh(
            host, f"grep -rlsaE --exclude-dir=dpkg --exclude-dir=journal '{pattern}' {places} | sort -u", check=False
        ).split()
        assert {path for path in found if not path.startswith("/run/credentials/")} <= allowed, host
        for path in found:
            assert site.sh(host, f"stat -c %a {path}").strip()[-1] == "0", path
        # the pattern itself is in the command lines of this very search: leave those out
        lines = site.sh(
            host, "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done", check=False
        )
        assert [line for line in lines.splitlines() if any(secret in line for secret in site.secrets.values())] == []
        logs = site.sh(host, "journalctl --no-pager -o cat | grep -v 'COMMAND='")
        assert [name for name, secret in site.secrets.items() if secret in logs] == []


def test_the_controllers_caches_hold_no_secret(site: Site) -> None:
    kept = [path for path in cache_folder().rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        text = path.read_text(errors="replace")
        assert [name for name, secret in site.secrets.items() if secret in text] == [], path
