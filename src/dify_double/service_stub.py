"""Stands in for the parts of Dify that the lab does not run: a port that answers, and the real services it would use.

With `--database` it keeps a table in PostgreSQL, as the plugin daemon does; with `--redis` it writes a heartbeat with
the password, as the worker does. So a wrong password or a lost database shows. With `--at-hostname` it listens where
Next's standalone server does: on the address of $HOSTNAME, which in a container is the container's name.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = b'{"status": "ok", "simulated": true}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def redis(*words: str) -> str:
    """One command to the Redis of the environment, after AUTH; its answer's first line."""
    host, port = os.environ.get("REDIS_HOST", "redis"), int(os.environ.get("REDIS_PORT") or 6379)
    user, password = os.environ.get("REDIS_USERNAME") or "", os.environ.get("REDIS_PASSWORD", "")
    login = ["AUTH", user, password] if user else ["AUTH", password]
    with socket.create_connection((host, port), timeout=5) as link:
        stream = link.makefile("rwb")
        answer = ""
        for command in (login, list(words)):
            stream.write(b"*%d\r\n" % len(command))
            for word in command:
                stream.write(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
            stream.flush()
            answer = stream.readline().decode().strip()
            if answer.startswith("-"):
                raise SystemExit("redis: " + answer)
        return answer


def keep_table() -> None:
    """A database and a table of its own, made where they are missing."""
    from .postgres_state import connect

    name = os.environ.get("DB_DATABASE", "dify_plugin")
    base = connect("postgres")
    base.autocommit = True
    with base.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if cursor.fetchone() is None:
            cursor.execute('CREATE DATABASE "%s"' % name)
    base.close()
    own = connect(name)
    with own, own.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS plugins (id text PRIMARY KEY)")
    own.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="dify_double.service_stub")
    parser.add_argument("--port", type=int)
    parser.add_argument("--ask", metavar="URL")
    parser.add_argument("--database", action="store_true")
    parser.add_argument("--redis", action="store_true")
    parser.add_argument("--at-hostname", action="store_true")
    given = parser.parse_args()
    if given.ask:
        with urllib.request.urlopen(given.ask, timeout=4) as answer:
            sys.exit(0 if answer.status == 200 else 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as process 1 it would not end otherwise
    print("simulated Dify: a stand-in", flush=True)
    if given.database:
        keep_table()
    while given.redis:
        redis("SET", "heartbeat", str(time.time()), "EX", "60")
        time.sleep(5)
    at = socket.gethostbyname(os.environ.get("HOSTNAME") or "0.0.0.0") if given.at_hostname else ""
    ThreadingHTTPServer((at, given.port), Healthy).serve_forever()


if __name__ == "__main__":
    main()
