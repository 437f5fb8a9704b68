"""What Weaviate holds is asked of it as Dify's libraries do, and what it lost is told by name."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from steelyard_host.dify import vectors
from steelyard_host.dify.stack import DifyError
from steelyard_host.dify.vectors import Collection, Vectors

KEY = "key-of-this-site"
Answer = Callable[[str, str], Any]


class Server:
    """A Weaviate that answers what a test says; `asked` are the requests."""

    def __init__(self) -> None:
        self.answer: Answer = lambda path, query: {}
        self.asked: list[tuple[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                outer.asked.append((self.path, str(self.headers.get("Authorization"))))
                said = outer.answer(self.path, json.loads(body)["query"] if body else "")
                text = json.dumps(said).encode() if said is not None else b"not found"
                self.send_response(404 if said is None else 200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = reply  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    monkeypatch.setattr(vectors, "PORT", made.http.server_port)
    monkeypatch.setattr(vectors, "LOOK_S", 0.01)
    monkeypatch.setattr(vectors, "SETTLE_S", 0.1)
    yield made
    made.http.shutdown()


@pytest.fixture
def stack(tmp_path: Path) -> Any:
    (tmp_path / ".env").write_text(f"WEAVIATE_AUTHENTICATION_APIKEY_ALLOWED_KEYS='{KEY},second'\n")
    return SimpleNamespace(folder=tmp_path, address=lambda service: "127.0.0.1")


def weaviate(counts: dict[str, int], hits: list[dict[str, Any]], stored: Any) -> Answer:
    def answer(path: str, query: str) -> Any:
        if path == "/v1/meta":
            return {"version": "1.27.0"}
        if path == "/v1/schema":
            return {"classes": [{"class": name} for name in counts]}
        if "Aggregate" in query:
            return {"data": {"Aggregate": {name: [{"meta": {"count": count}}] for name, count in counts.items()}}}
        if query:
            return {"data": {"Get": {name: [{"_additional": hit} for hit in hits] for name in counts}}}
        if "?class=" in path:
            return {"objects": [{"id": "o1"}]}
        return stored

    return answer


@pytest.mark.parametrize("stored", [{"vector": [0.5, 1]}, {"vectors": {"default": [0.5, 1]}}])
def test_objects_are_counted_and_searched_for_by_the_vector_that_is_stored(
    server: Server, stack: Any, stored: dict[str, Any]
) -> None:
    server.answer = weaviate({"A": 2, "B": 0}, [{"id": "o1", "distance": 0.0}], stored)
    held = vectors.read(stack)
    assert held == Vectors("1.27.0", {"A": Collection(2, ("o1",)), "B": Collection(0)})
    assert held.shown == "2 collections with 2 vectors, 1 of them searched for and found"
    assert {key for _, key in server.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("hits", "found"),
    [
        ([{"id": "o7", "distance": 0.0}], ("o1",)),  # another object with the same vector
        ([{"id": "o7", "distance": 0.4}], ()),
        ([], ()),
    ],
)
def test_an_object_with_the_same_vector_is_as_good_and_a_distant_one_is_not(
    server: Server, stack: Any, hits: list[dict[str, Any]], found: tuple[str, ...]
) -> None:
    server.answer = weaviate({"A": 2}, hits, {"vector": [1]})
    assert vectors.read(stack).collections["A"].hits == found


def test_an_object_that_is_gone_is_not_found_and_the_same_ones_are_searched_for_again(
    server: Server, stack: Any
) -> None:
    before = Vectors("1.27.0", {"A": Collection(2, ("o8", "o9"))})
    server.answer = weaviate({"A": 2}, [{"id": "o8"}, {"id": "o9"}], {"vector": [1]})
    assert vectors.lost(before, vectors.read(stack, before)) == ""
    server.answer = weaviate({"A": 2}, [{"id": "o8"}, {"id": "o9"}], None)
    said = vectors.lost(before, vectors.read(stack, before))
    assert said.startswith("the search of Weaviate 1.27.0 does not find the vector of o8 in the collection A")


def test_collections_that_are_loaded_late_are_waited_for(server: Server, stack: Any) -> None:
    before = Vectors("1.27.0", {"A": Collection(2, ("o1",))})
    late = [weaviate({}, [], {}), weaviate({"A": 1}, [], {})]
    full = weaviate({"A": 2}, [{"id": "o1"}], {"vector": [1]})

    def answer(path: str, query: str) -> Any:
        if path == "/v1/meta" and late:
            late.pop(0)
        return (late[0] if late else full)(path, query)

    server.answer = answer
    assert vectors.settled(stack, before, (1, 27), 20).collections["A"].objects == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"errors": [{"message": "no shard"}]}, "Weaviate cannot answer /v1/meta"),
        (None, "Weaviate answers GET /v1/meta with 404"),
        ([], "Weaviate cannot answer /v1/meta"),
        ({"status": "ok"}, "does not say which release it is"),
    ],
)
def test_what_is_no_weaviate_is_told_after_the_wait(server: Server, stack: Any, said: Any, why: str) -> None:
    server.answer = lambda path, query: said
    with pytest.raises(DifyError, match=why):
        vectors.settled(stack, None, None, 0.05)


def test_a_weaviate_that_had_to_be_killed_is_not_used(stack: Any) -> None:
    asked: list[tuple[str, ...]] = []
    stack.compose = lambda *argv: asked.append(argv)
    stack.containers = lambda: {"weaviate": SimpleNamespace(state="exited", exit=137)}
    with pytest.raises(DifyError, match="was killed: its index may miss objects"):
        vectors.stop(stack)
    assert asked == [("stop", "--timeout", "600", "weaviate")]
    stack.containers = lambda: {"weaviate": SimpleNamespace(state="exited", exit=0)}
    vectors.stop(stack)
