"""The views that the API gives of knowledge bases, and who is shown them."""

from __future__ import annotations

from .json_object import JsonObject, State
from .model_providers import ProviderModels

PERMISSIONS = (
    "preview",
    "readonly",
    "edit",
    "import_export_dsl",
    "pipeline_test",
    "document_download",
    "retrieval_recall",
    "use",
    "delete_file",
    "pipeline_release",
    "delete",
    "access_config",
)
PERMISSION_KEYS = [*("dataset.acl." + name for name in PERMISSIONS), "dataset.api_key.manage"]
RETRIEVAL: JsonObject = {
    "search_method": "semantic_search",
    "reranking_enable": False,
    "reranking_mode": None,
    "reranking_model": {"reranking_provider_name": "", "reranking_model_name": ""},
    "weights": None,
    "top_k": 2,
    "score_threshold_enabled": False,
    "score_threshold": None,
}
# what a knowledge base that keeps its content elsewhere would say
EXTERNAL = dict.fromkeys("external_knowledge_" + name for name in ("id", "api_id", "api_name", "api_endpoint"))
SUMMARY = dict.fromkeys(("enable", "model_name", "model_provider_name", "summary_prompt"))
ICON = dict.fromkeys(("icon_type", "icon", "icon_background", "icon_url"))


def sees(account: JsonObject, dataset: JsonObject, include_all: bool = False) -> bool:
    """Tell whether a member is shown a knowledge base: its own, what is for all, and everything for an owner who asks
    for all.
    """
    if dataset.get("created_by", account["id"]) == account["id"] or dataset.get("permission") == "all_team_members":
        return True
    return include_all and account["role"] == "owner"


def users_of(state: State, dataset: str) -> list[JsonObject]:
    """Return the apps whose settings name a knowledge base."""
    users = []
    for app in state["apps"].values():
        chosen = ((app.get("model_config") or {}).get("dataset_configs") or {}).get("datasets") or {}
        if any(entry.get("dataset", {}).get("id") == dataset for entry in chosen.get("datasets", [])):
            users.append(app)
    return users


class DatasetViews:
    """Views of the knowledge bases of a workspace."""

    def __init__(self, state: State, models: ProviderModels) -> None:
        self.state, self.models = state, models

    def available(self, dataset: JsonObject) -> bool:
        """Tell whether the embedding model can be used; a knowledge base without one can always be read."""
        if not dataset.get("embedding_model"):
            return True
        return self.models.usable(dataset["embedding_model_provider"], dataset["embedding_model"], "text-embedding")

    def of_service(self, dataset: JsonObject, available: bool | None) -> JsonObject:
        """Return a knowledge base as the service API shows it."""
        documents = list(dataset.get("documents", {}).values())
        accounts = {account["id"]: account["name"] for account in (self.state["admin"], *self.state["members"])}
        at, by = dataset.get("at", 0), dataset.get("created_by", self.state["admin"]["id"])
        own = dataset.get("retrieval_model")
        retrieval = {**RETRIEVAL, **(own or {})}
        return {
            "id": dataset["id"],
            "name": dataset["name"],
            "description": dataset.get("description", ""),
            "provider": "vendor",
            "permission": dataset.get("permission", "only_me"),
            "data_source_type": "upload_file" if documents else None,
            "indexing_technique": dataset.get("indexing_technique"),
            "app_count": len(users_of(self.state, dataset["id"])),
            "document_count": len(documents),
            "word_count": sum(document["word_count"] or 0 for document in documents),
            "created_by": by,
            "author_name": accounts.get(by),
            "created_at": at,
            "updated_by": by,
            "updated_at": dataset.get("updated", at),
            "embedding_model": dataset.get("embedding_model"),
            "embedding_model_provider": dataset.get("embedding_model_provider"),
            "embedding_available": available,
            "retrieval_model_dict": retrieval,
            "summary_index_setting": SUMMARY,
            "tags": [],
            "doc_form": "text_model" if documents else None,
            "external_knowledge_info": EXTERNAL,
            "external_retrieval_model": {
                "top_k": retrieval["top_k"],
                "score_threshold": 0.0 if own is None else retrieval["score_threshold"],
                "score_threshold_enabled": None if own is None else retrieval["score_threshold_enabled"],
            },
            "doc_metadata": [],
            "built_in_field_enabled": False,
            "pipeline_id": None,
            "runtime_mode": "general",
            "chunk_structure": None,
            "icon_info": ICON,
            "is_published": False,
            "total_documents": len(documents),
            "total_available_documents": sum(document["status"] == "completed" for document in documents),
            "enable_api": True,
            "is_multimodal": False,
            "maintainer": by,
        }

    def of_console(self, dataset: JsonObject, available: bool | None, partial: list[str] | None) -> JsonObject:
        """Return a knowledge base as the console shows it; `partial` are members who may see it too."""
        shown = self.of_service(dataset, available)
        return {**shown, "permission_keys": PERMISSION_KEYS, "partial_member_list": partial}
