"""Knowledge bases: made, changed, listed and removed, by the console and by the service API."""

from __future__ import annotations

from collections.abc import Callable

from .api_keys import DATASETS, ApiKeys
from .clock import Clock
from .dataset_views import DatasetViews, sees, users_of
from .json_object import JsonObject, State, new_id
from .model_providers import ProviderModels
from .routes import BROKEN, Answer, Request, Route, flat, gone, ok
from .validation import Complaints, page_of

NAME_LIMIT = 40
ONE = "/datasets/{dataset:uuid}"
UNKNOWN = flat(404, "not_found", "Dataset not found.")
TEXTS = ("description", "permission", "indexing_technique", "embedding_model", "embedding_model_provider")
Handler = Callable[[JsonObject, Request], Answer]  # of one knowledge base


class Datasets:
    """Knowledge bases over `state["datasets"]`, by id. A member who may not see one is told so, and an administrator is
    not the owner.
    """

    def __init__(self, state: State, models: ProviderModels, keys: ApiKeys, clock: Clock) -> None:
        self.state, self.models, self.keys, self.clock = state, models, keys, clock
        self.views = DatasetViews(state, models)

    def routes(self) -> list[Route]:
        """Return the console's routes, the exact ones first."""
        keys = "/datasets/api-keys"
        return [
            Route("GET", "/datasets", self._list),
            Route("POST", "/datasets", self._create_by_console),
            Route("GET", keys, lambda _: self.keys.listed(DATASETS)),
            Route("POST", keys, lambda _: self.keys.create(DATASETS, 200)),
            Route("DELETE", keys + "/{key:uuid}", lambda request: self.keys.delete(DATASETS, request.names["key"])),
            Route("GET", ONE, self.of_one(self._get)),
            Route("PATCH", ONE, self.of_one(self._change)),
            Route("DELETE", ONE, self.of_one(self._delete)),
            Route("GET", ONE + "/use-check", self.of_one(self._use_check)),
            Route("GET", ONE + "/related-apps", self.of_one(self._related_apps)),
            Route("POST", ONE + "/api-keys", lambda _: BROKEN),  # seen: keys are the workspace's
        ]

    def service_routes(self) -> list[Route]:
        """Return the routes of the service API."""
        return [
            Route("GET", "/datasets", self._list_for_service, key="dataset"),
            Route("POST", "/datasets", self._create_by_service, key="dataset"),
            Route("GET", ONE, self.of_one(self._get_for_service), key="dataset"),
            Route("DELETE", ONE, self.of_one(self._delete), key="dataset"),
        ]

    def of_one(self, handler: Handler) -> Callable[[Request], Answer]:
        """Return the handler of a route that names one knowledge base."""

        def checked(request: Request) -> Answer:
            dataset = self.state["datasets"].get(request.names["dataset"])
            if dataset is None:
                return UNKNOWN
            if not sees(request.account, dataset, include_all=True):
                return flat(403, "forbidden", "You do not have permission to access this dataset.")
            return handler(dataset, request)

        return checked

    def _page(self, request: Request) -> tuple[list[JsonObject], JsonObject]:
        """Return one page of what the member may see, newest first, and what is told beside it. A full page says
        that more follow, whether they do or not; a big limit is taken.
        """
        query = request.query
        Complaints("DatasetListQuery", query).between("page", 1, 99999).between("limit", 1, 99999).refuse()
        page, limit = int(query.get("page", 1)), int(query.get("limit", 20))
        every = query.get("include_all", "").lower() == "true"
        seen = [dataset for dataset in self.state["datasets"].values() if sees(request.account, dataset, every)]
        entries, _ = page_of(seen[::-1], page, limit)
        return entries, {"has_more": len(entries) == limit, "limit": limit, "total": len(seen), "page": page}

    def _list(self, request: Request) -> Answer:
        entries, beside = self._page(request)
        shown = [self.views.of_console(dataset, self.views.available(dataset), []) for dataset in entries]
        return ok({"data": shown, **beside})

    def _list_for_service(self, request: Request) -> Answer:
        entries, beside = self._page(request)
        shown = [self.views.of_service(dataset, self.views.available(dataset)) for dataset in entries]
        return ok({"data": shown, **beside})

    def _create(self, request: Request, model: tuple[str, str] | None) -> JsonObject | Answer:
        """Make a knowledge base with this embedding model, or refuse. Raises Invalid."""
        body = request.body
        complaints = Complaints("DatasetCreatePayload", body).required("name").longest("name", NAME_LIMIT)
        complaints.text("name").text(*TEXTS, null=True).mapping("retrieval_model", null=True).refuse()
        if any(dataset["name"] == body["name"] for dataset in self.state["datasets"].values()):
            refusal = "The dataset name already exists. Please modify your dataset name."
            return flat(409, "dataset_name_duplicate", refusal)
        technique = body.get("indexing_technique")
        if technique == "high_quality":
            default = self.state["defaults"].get("text-embedding")
            if model is None and default is None:
                return flat(400, "provider_not_initialize", "Default model not found for text-embedding")
            model = model or (default["provider"], default["model"])
            self.models.credentials(*model, "text-embedding")
        provider, name = model if model is not None and technique == "high_quality" else (None, None)
        dataset: JsonObject = {
            "id": new_id(),
            "name": body["name"],
            "description": body.get("description") or "",
            "permission": body.get("permission") or "only_me",
            "indexing_technique": technique,
            "embedding_model": name,
            "embedding_model_provider": provider,
            "retrieval_model": body.get("retrieval_model"),
            "created_by": request.account["id"],
            "at": self.clock.unix(),
            "documents": {},
        }
        self.state["datasets"][dataset["id"]] = dataset
        return dataset

    def _create_by_console(self, request: Request) -> Answer:
        """Make a knowledge base with the workspace's default embedding model: the form names none."""
        made = self._create(request, None)
        return made if isinstance(made, tuple) else (201, [], self.views.of_console(made, None, None))

    def _create_by_service(self, request: Request) -> Answer:
        body = request.body
        named = (body.get("embedding_model_provider"), body.get("embedding_model"))
        made = self._create(request, (named[0], named[1]) if named[0] and named[1] else None)
        return made if isinstance(made, tuple) else ok(self.views.of_service(made, None))

    def _get(self, dataset: JsonObject, _: Request) -> Answer:
        return ok(self.views.of_console(dataset, self.views.available(dataset), None))

    def _get_for_service(self, dataset: JsonObject, _: Request) -> Answer:
        return ok(self.views.of_service(dataset, self.views.available(dataset)))

    def _change(self, dataset: JsonObject, request: Request) -> Answer:
        body = request.body
        complaints = Complaints("DatasetUpdatePayload", body).longest("name", NAME_LIMIT)
        complaints.text("name", *TEXTS, null=True).mapping("retrieval_model", null=True).refuse()
        if body.get("indexing_technique") == "high_quality" and body.get("embedding_model"):
            provider = body.get("embedding_model_provider") or ""
            self.models.credentials(provider, body["embedding_model"], "text-embedding")
        for name in ("name", *TEXTS, "retrieval_model"):
            if body.get(name) is not None:
                dataset[name] = body[name]
        dataset["updated"] = self.clock.unix()
        return ok(self.views.of_console(dataset, None, []))

    def _delete(self, dataset: JsonObject, _: Request) -> Answer:
        """Remove a knowledge base, also one that an app uses: nothing asks."""
        del self.state["datasets"][dataset["id"]]
        return gone()

    def _use_check(self, dataset: JsonObject, _: Request) -> Answer:
        return ok({"is_using": bool(users_of(self.state, dataset["id"]))})

    def _related_apps(self, dataset: JsonObject, _: Request) -> Answer:
        names = ("id", "name", "description", "mode", "icon_type", "icon", "icon_background")
        users = users_of(self.state, dataset["id"])
        apps = [{**{name: app.get(name) for name in names}, "icon_url": None} for app in users]
        return ok({"data": apps, "total": len(apps)})
