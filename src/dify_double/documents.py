"""Documents of knowledge bases and how they are indexed: by a worker, some time after the answer.

So a document is taken although its model is gone; what became of it is told by the status of its batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from .clock import Clock
from .credential_forms import Invalid
from .datasets import ONE
from .embeddings import Embeddings
from .json_object import JsonObject, State, new_id
from .routes import Answer, Request, Route, flat, ok
from .upstream import EndpointFailed
from .validation import Complaints, page_of

INDEX_S = 0.3  # seconds a short text took
RULES: JsonObject = {
    "pre_processing_rules": [
        {"id": "remove_extra_spaces", "enabled": True},
        {"id": "remove_urls_emails", "enabled": False},
    ],
    "segmentation": {"delimiter": "\n", "max_tokens": 500, "chunk_overlap": 50},
}
DOCUMENT = ONE + "/documents/{document:uuid}"
TIMES = ("processing_started_at", "parsing_completed_at", "cleaning_completed_at", "splitting_completed_at")
ENDED = ("completed", "error")
DISPLAYED = {"waiting": "queuing", "completed": "available", "error": "error"}
Handler = Callable[[JsonObject, Request], Answer]  # of one knowledge base


class Documents:
    """Documents over `state["datasets"][ID]["documents"]`, by id."""

    def __init__(self, state: State, embeddings: Embeddings, clock: Clock) -> None:
        self.state, self.embeddings, self.clock = state, embeddings, clock
        self.index_s = INDEX_S

    def service_routes(self, of_one: Callable[[Handler], Callable[[Request], Answer]]) -> list[Route]:
        """Return the routes of the service API; one path has an older name too."""
        routes = [
            Route("POST", ONE + "/document/" + name, of_one(self._create), key="dataset")
            for name in ("create-by-text", "create_by_text")
        ]
        return [
            *routes,
            Route("GET", ONE + "/documents", of_one(self._list), key="dataset"),
            Route("GET", ONE + "/documents/{batch}/indexing-status", of_one(self._status), key="dataset"),
            Route("GET", DOCUMENT, of_one(self._get), key="dataset"),
            Route("GET", DOCUMENT + "/segments", of_one(self._segments), key="dataset"),
        ]

    def _create(self, dataset: JsonObject, request: Request) -> Answer:
        """Take a text. One of the same name takes the place of the document that has it, and of its id."""
        body = request.body
        Complaints("DocumentTextCreatePayload", body).required("name", "text").text("name", "text").refuse()
        file, at = new_id(), self.clock.exact()
        source = {"info_list": {"data_source_type": "upload_file", "file_info_list": {"file_ids": [file]}}}
        Complaints("KnowledgeConfig", {**body, "data_source": source}).required("indexing_technique").refuse()
        documents = dataset.setdefault("documents", {})
        before = next((known for known in documents.values() if known["name"] == body["name"]), None)
        document: JsonObject = before or {
            "id": new_id(),
            "position": len(documents) + 1,
            "name": body["name"],
            "created_by": self._owner,
            "at": int(at),
            "error": None,
            "stopped_at": None,
            "completed_at": None,
            "tokens": None,
            "word_count": None,
            "segment": {"id": new_id(), "index_node_id": new_id()},
            **dict.fromkeys(TIMES),
        }
        first = next(iter(documents.values()), None)
        given = body.get("process_rule") is not None or first is None
        document |= {
            "text": body["text"],
            "file": {"id": file, "at": at},
            "rule": new_id() if given else first["rule"] if first else None,
            "batch": self.clock.batch(),
            "status": "waiting",
            "began": self.clock.read(),
        }
        documents[document["id"]] = document
        dataset["indexing_technique"] = dataset.get("indexing_technique") or body["indexing_technique"]
        return ok({"document": self.shown(document), "batch": document["batch"]})

    def settle(self) -> None:
        """Go on with what is being indexed; before every request, as the worker works on its own."""
        for dataset in self.state["datasets"].values():
            for document in dataset.get("documents", {}).values():
                age = self.clock.read() - document["began"]
                if document["status"] in ENDED or age <= 0:
                    continue
                at = self.clock.unix()
                document["processing_started_at"] = at
                document["status"] = "parsing"
                if age >= self.index_s / 4:
                    document["parsing_completed_at"], document["status"] = at, "splitting"
                if age >= self.index_s:
                    self._index(dataset, document, at)

    def _index(self, dataset: JsonObject, document: JsonObject, at: int) -> None:
        """Embed a document, or write down why not."""
        model = (dataset.get("embedding_model_provider"), dataset.get("embedding_model"))
        try:
            if model[0] and model[1]:
                self.embeddings.require(model[0], model[1])
                document |= {"cleaning_completed_at": at, "splitting_completed_at": at, "split": True}
                document["vector"] = self.embeddings.of_document(model[0], model[1], document["text"])
        except EndpointFailed as failure:
            document |= {"status": "error", "error": failure.document(), "stopped_at": at}
        except Invalid as refusal:
            document |= {"status": "error", "error": str(refusal), "stopped_at": at}
        else:
            size = len(document["text"])
            document |= {"status": "completed", "error": None, "stopped_at": None, "completed_at": at}
            document |= {"split": True, "tokens": size // 4, "word_count": size}
            document |= {"cleaning_completed_at": at, "splitting_completed_at": at}

    def _status(self, dataset: JsonObject, request: Request) -> Answer:
        every, name = dataset.get("documents", {}).values(), request.names["batch"]
        batch = [document for document in every if document["batch"] == name]
        if not batch:
            return flat(404, "not_found", "Documents not found.")
        return ok({"data": [progress(document) for document in batch]})

    def _list(self, dataset: JsonObject, request: Request) -> Answer:
        query = request.query
        Complaints("DocumentListQuery", query).between("page", 1, 99999).between("limit", 1, 100).refuse()
        page, limit = int(query.get("page", 1)), int(query.get("limit", 20))
        documents = sorted(dataset.get("documents", {}).values(), key=lambda document: -document["position"])
        entries, more = page_of(documents, page, limit)
        beside = {"has_more": more, "limit": limit, "total": len(documents), "page": page}
        return ok({"data": [self.shown(document) for document in entries], **beside})

    def _named(self, dataset: JsonObject, request: Request) -> JsonObject | None:
        document: JsonObject | None = dataset.get("documents", {}).get(request.names["document"])
        return document

    def _get(self, dataset: JsonObject, request: Request) -> Answer:
        document = self._named(dataset, request)
        return UNKNOWN_DOCUMENT if document is None else ok(self._detail(dataset, document))

    def _segments(self, dataset: JsonObject, request: Request) -> Answer:
        document = self._named(dataset, request)
        if document is None:
            return UNKNOWN_DOCUMENT
        done = [document] if document["status"] == "completed" else []
        segments = [
            {
                **segment(entry),
                "sign_content": entry["text"],
                "keywords": None,
                "updated_at": entry["completed_at"],
                "updated_by": None,
                "created_by": self._owner,
                "child_chunks": [],
                "attachments": [],
                "summary": None,
            }
            for entry in done
        ]
        beside = {"doc_form": "text_model", "total": len(segments), "has_more": False, "limit": 20, "page": 1}
        return ok({"data": segments, **beside})

    @property
    def _owner(self) -> str:
        """The account whose work the service API does."""
        return str(self.state["admin"]["id"])

    def shown(self, document: JsonObject) -> JsonObject:
        """Return a document as lists and the answer to its upload show it."""
        return {
            **self._common(document),
            "data_source_info": {"upload_file_id": document["file"]["id"]},
            "data_source_detail_dict": {"upload_file": self._file(document)},
            "doc_metadata": [],
        }

    def _common(self, document: JsonObject) -> JsonObject:
        status = document["status"]
        return {
            "id": document["id"],
            "position": document["position"],
            "data_source_type": "upload_file",
            "dataset_process_rule_id": document["rule"],
            "name": document["name"],
            "created_from": "api",
            "created_by": self._owner,
            "created_at": document["at"],
            "tokens": document["tokens"],
            "indexing_status": status,
            "error": document["error"],
            "enabled": True,
            "disabled_at": None,
            "disabled_by": None,
            "archived": False,
            "display_status": DISPLAYED.get(status, "indexing"),
            "word_count": document["word_count"],
            "hit_count": 0,
            "doc_form": "text_model",
            "summary_index_status": None,
            "need_summary": False,
        }

    def _file(self, document: JsonObject) -> JsonObject:
        size = len(document["text"].encode())
        kind = {"extension": "txt", "mime_type": "text/plain"}
        made = {"created_by": self._owner, "created_at": document["file"]["at"]}
        return {"id": document["file"]["id"], "name": document["name"], "size": size, **kind, **made}

    def _detail(self, dataset: JsonObject, document: JsonObject) -> JsonObject:
        """Return a document as its own page shows it."""
        common = self._common(document)
        del common["word_count"]
        segments = int(document["status"] == "completed")
        rule = {"id": document["rule"], "dataset_id": dataset["id"], "mode": "automatic", "rules": RULES}
        return {
            **common,
            "data_source_info": {"upload_file": self._file(document)},
            "dataset_process_rule": {"mode": "automatic", "rules": RULES},
            "document_process_rule": rule,
            "completed_at": document["completed_at"],
            "updated_at": document["completed_at"],
            "indexing_latency": self.index_s if segments else None,
            "doc_type": None,
            "doc_metadata": None,
            "segment_count": segments,
            "average_segment_length": len(document["text"]) if segments else 0,
            "doc_language": "English",
        }


UNKNOWN_DOCUMENT = flat(404, "not_found", "Document not found.")


def progress(document: JsonObject) -> JsonObject:
    """Return what a batch's status says of a document."""
    return {
        "id": document["id"],
        "indexing_status": document["status"],
        **{name: document[name] for name in TIMES},
        "completed_at": document["completed_at"],
        "paused_at": None,
        "error": document["error"],
        "stopped_at": document["stopped_at"],
        "completed_segments": int(document["status"] == "completed"),
        "total_segments": int(bool(document.get("split"))),
    }


def segment(document: JsonObject) -> JsonObject:
    """Return the one segment of a text, with what every view of it has."""
    text = document["text"]
    return {
        "id": document["segment"]["id"],
        "position": 1,
        "document_id": document["id"],
        "content": text,
        "answer": None,
        "word_count": len(text),
        "tokens": len(text) // 4,
        "index_node_id": document["segment"]["index_node_id"],
        "index_node_hash": hashlib.sha256((text + "None").encode()).hexdigest(),
        "hit_count": 0,
        "enabled": True,
        "disabled_at": None,
        "disabled_by": None,
        "status": "completed",
        "created_at": document["completed_at"],
        "indexing_at": document["completed_at"],
        "completed_at": document["completed_at"],
        "error": None,
        "stopped_at": None,
    }
