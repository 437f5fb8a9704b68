#!/usr/bin/env bash
# docker-registry 2.8.2 (Debian 12): `garbage-collect --delete-untagged` removes what a tag leads to.
#
# An image for several platforms has one tag, at its index; the manifests of its platforms have none. The collector takes each of them
# for untagged. The tag stays, `GET /v2/NAME/manifests/TAG` still answers 200 with the index, and every pull of any platform is a 404. The
# exit status is 0. Without the flag nothing untagged goes, so between both there is no way to free what a moved tag has left behind.
set -euo pipefail
work=$(mktemp -d)
running=()
trap 'kill "${running[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User=root download docker-registry=2.8.2+ds1-1
dpkg -x docker-registry_*.deb root
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >config.yml <<CONFIG
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $work/store}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
CONFIG
serve() {
    root/usr/bin/docker-registry serve config.yml >log 2>&1 &
    running=($!)
    until curl -s -o /dev/null "http://127.0.0.1:$port/v2/"; do sleep 0.1; done
}
serve
platforms=$(python3 - "http://127.0.0.1:$port/v2/team/app" <<'PYTHON'
import hashlib
import json
import sys
import urllib.request

base = sys.argv[1]
OCI = "application/vnd.oci.image."


def send(method, url, body=b"", kind="application/octet-stream"):
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind})
    return urllib.request.urlopen(request)


def blob(body, kind):
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    at = send("POST", base + "/blobs/uploads/").headers["Location"]
    send("PUT", at + ("&" if "?" in at else "?") + "digest=" + digest, body)
    return {"mediaType": OCI + kind, "digest": digest, "size": len(body)}


def manifest(document, kind, tag=None):
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI + kind, **document}).encode()
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    send("PUT", base + "/manifests/" + (tag or digest), body, OCI + kind)
    return {"mediaType": OCI + kind, "digest": digest, "size": len(body)}


entries = []
for architecture in ("amd64", "arm64"):
    config = blob(json.dumps({"architecture": architecture, "os": "linux"}).encode(), "config.v1+json")
    layer = blob(b"bytes of " + architecture.encode(), "layer.v1.tar")
    entry = manifest({"config": config, "layers": [layer]}, "manifest.v1+json")
    entries.append({**entry, "platform": {"architecture": architecture, "os": "linux"}})
manifest({"manifests": entries}, "index.v1+json", tag="1")
print(*(entry["digest"] for entry in entries))
PYTHON
)
status() {
    curl -s -o /dev/null -w '%{http_code}' -H 'Accept: application/vnd.oci.image.index.v1+json' \
        -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://127.0.0.1:$port/v2/team/app/manifests/$1"
}
all() { for name in 1 $platforms; do printf '%s ' "$(status "$name")"; done; }
before=$(all)
kill "${running[@]}" && wait "${running[@]}" 2>/dev/null || true
root/usr/bin/docker-registry garbage-collect config.yml >/dev/null 2>&1
serve
kept=$(all)
kill "${running[@]}" && wait "${running[@]}" 2>/dev/null || true
ended=0
root/usr/bin/docker-registry garbage-collect --delete-untagged config.yml >/dev/null 2>&1 || ended=$?
serve
after=$(all)
echo "tag, amd64, arm64 before:            $before"
echo "after garbage-collect:               $kept"
echo "after it with --delete-untagged:     $after (exit $ended)"
test "$before" = "200 200 200 " || { echo "changed: the push"; exit 1; }
test "$kept" = "200 200 200 " || { echo "changed: a plain collection takes something"; exit 1; }
test "$after $ended" = "200 404 404  0" || { echo "changed: platforms stay"; exit 1; }
