"""Command line of the helper. Answers are JSON on stdout; a failure is one sentence on stderr and exit 1."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from steelyard_host import gpu, haproxy, hardware, ready, registry, status, store, wheels


def main() -> int:
    parser = argparse.ArgumentParser(prog="steelyard-host")
    commands = parser.add_subparsers(dest="command", required=True)
    state = commands.add_parser("store-state", help="what the model store holds of one version")
    receive = commands.add_parser("store-receive", help="take a version from standard input, verify, publish")
    for each in (state, receive):
        each.add_argument("root", type=Path)
        each.add_argument("project")
        each.add_argument("version")
    wait = commands.add_parser("ready", help="wait until the engine generates a token")
    wait.add_argument("socket")
    wait.add_argument("service")
    wait.add_argument("seconds", type=float)
    token = commands.add_parser("token", help="whether the engine generates a token now")
    token.add_argument("socket")
    token.add_argument("service")
    commands.add_parser("status", help="GPUs, services and requests of this host")
    commands.add_parser("gpu-health", help="GPUs by NVML, the PCI bus and the kernel log")
    for name, text in (("wheels-state", "is the index of these wheels"), ("wheels-index", "index a folder of wheels")):
        commands.add_parser(name, help=text).add_argument("folder", type=Path)
    commands.add_parser("haproxy", help="what a running HAProxy was started with").add_argument("socket")
    made_of = commands.add_parser("hardware", help="what this host is made of")
    made_of.add_argument("path")
    made_of.add_argument("names", nargs="*")
    read = commands.add_parser("disk", help="how fast the disk reads, by fio")
    read.add_argument("path")
    serve = commands.add_parser("link-serve", help="serve one measurement of a link, by iperf3")
    link = commands.add_parser("link", help="measure a link to a host that serves")
    link.add_argument("address")
    for each in (serve, link):
        each.add_argument("port", type=int)
    for each in (read, serve, link):
        each.add_argument("seconds", type=float)
    settings = commands.add_parser("gpu-settings", help="set GPUs: persistence, power_limit, clocks, compute_mode, ecc, mig")
    settings.add_argument("--gpu", type=int)
    settings.add_argument("settings", nargs="+", metavar="NAME=VALUE")
    image = commands.add_parser("registry-probe", help="whether a registry serves an image, and how fast")
    image.add_argument("url")
    image.add_argument("image")
    healthy = commands.add_parser("haproxy-wait", help="wait until HAProxy sees servers healthy")
    healthy.add_argument("socket")
    healthy.add_argument("seconds", type=float)
    healthy.add_argument("servers", nargs="+")
    given = parser.parse_args()
    try:
        if given.command == "store-state":
            print(json.dumps(store.state(given.root, given.project, given.version), sort_keys=True))
        elif given.command == "store-receive":
            print(json.dumps(store.receive(given.root, given.project, given.version, sys.stdin.buffer), sort_keys=True))
        elif given.command == "ready":
            return ready.wait(given.socket, given.service, given.seconds)
        elif given.command == "token":
            gives, why = ready.one_token(given.socket, given.service, 20)
            print(json.dumps({"gives": gives, "why": why}, sort_keys=True))
        elif given.command == "gpu-health":
            print(json.dumps(gpu.health(), sort_keys=True))
        elif given.command == "hardware":
            print(json.dumps(hardware.read(given.path, given.names), sort_keys=True))
        elif given.command == "disk":
            print(json.dumps(hardware.disk(given.path, given.seconds), sort_keys=True))
        elif given.command == "link-serve":
            print(json.dumps(hardware.serve(given.port, given.seconds), sort_keys=True))
        elif given.command == "link":
            print(json.dumps(hardware.link(given.address, given.port, given.seconds), sort_keys=True))
        elif given.command == "gpu-settings":
            refused = gpu.settle(given.gpu, dict(word.split("=", 1) for word in given.settings))
            print("\n".join(refused), file=sys.stderr)
            return 1 if refused else 0
        elif given.command == "registry-probe":
            print(json.dumps(registry.probe(given.url, given.image), sort_keys=True))
        elif given.command == "wheels-state":
            print(json.dumps(wheels.state(given.folder), sort_keys=True))
        elif given.command == "wheels-index":
            print(json.dumps(wheels.index(given.folder), sort_keys=True))
        elif given.command == "haproxy-wait":
            return haproxy.wait_healthy(given.socket, given.seconds, given.servers)
        elif given.command == "haproxy":
            print(json.dumps(haproxy.state(given.socket), sort_keys=True))
        else:
            print(json.dumps(status.read(), sort_keys=True))
    except store.StoreError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
