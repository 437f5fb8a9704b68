"""The views that the API gives of apps: alone, in lists, after a switch, and to those who use one."""

from __future__ import annotations

from .json_object import JsonObject, State

NAMES = (
    "preview",
    "view_layout",
    "test_and_run",
    "edit",
    "import_export_dsl",
    "delete",
    "release_and_version",
    "monitor",
    "access_config",
    "tracing_config",
    "log_and_annotation",
)
PERMISSION_KEYS = ["app.acl." + name for name in NAMES]
OFF: JsonObject = {"enabled": False}
SYSTEM_PARAMETERS = {
    "image_file_size_limit": 10,
    "video_file_size_limit": 100,
    "audio_file_size_limit": 50,
    "file_size_limit": 15,
    "workflow_file_upload_limit": 10,
}
IMAGES = {"enabled": False, "number_limits": 3, "detail": "high", "transfer_methods": ["remote_url", "local_file"]}
# what a configuration that names only its model is filled up with
CONFIG: JsonObject = {
    "opening_statement": None,
    "suggested_questions": [],
    "suggested_questions_after_answer": OFF,
    "speech_to_text": OFF,
    "text_to_speech": OFF,
    "retriever_resource": {"enabled": True},
    "more_like_this": OFF,
    "sensitive_word_avoidance": {"enabled": False, "type": "", "config": {}},
    "external_data_tools": [],
    "user_input_form": [],
    "dataset_query_variable": None,
    "pre_prompt": None,
    "agent_mode": {"enabled": False, "strategy": None, "tools": [], "prompt": None},
    "prompt_type": "simple",
    "chat_prompt_config": {},
    "completion_prompt_config": {},
    "dataset_configs": {"retrieval_model": "multiple"},
    "file_upload": {"image": IMAGES},
}
OF_SITE = (
    "title",
    "chat_color_theme",
    "chat_color_theme_inverted",
    "icon_type",
    "icon",
    "icon_background",
    "description",
    "copyright",
    "privacy_policy",
    "input_placeholder",
    "custom_disclaimer",
    "default_language",
    "show_workflow_steps",
    "use_icon_as_answer_icon",
    "icon_url",
)


class AppViews:
    """Views of the apps of a workspace; `url` is where people reach this Dify. What an app's state does not say has the
    value of a new one.
    """

    def __init__(self, state: State, url: str) -> None:
        self.state, self.url = state, url

    def _common(self, app: JsonObject) -> JsonObject:
        """Return what every view of an app begins with."""
        at, by = app.get("at", 0), app.get("created_by", self.state["admin"]["id"])
        published = app.get("workflows", {}).get("publish")
        workflow = None
        if published is not None:
            names = ("id", "created_at", "updated_by", "updated_at")
            workflow = {"created_by": by, **{name: published.get(name) for name in names}}
        return {
            "id": app["id"],
            "name": app["name"],
            "description": app.get("description", ""),
            "mode": app["mode"],
            "icon": app.get("icon"),
            "icon_background": app.get("icon_background"),
            "model_config": app.get("model_config"),
            "workflow": workflow,
            "use_icon_as_answer_icon": False,
            "created_by": by,
            "created_at": at,
            "updated_by": by,
            "updated_at": app.get("updated", at),
            "access_mode": None,
            "tags": [],
            "maintainer": by,
        }

    def switched(self, app: JsonObject) -> JsonObject:
        """Return an app as the answer to a switch of its API shows it: without rights and addresses."""
        switches = {"enable_site": app.get("enable_site", True), "enable_api": app.get("enable_api", True)}
        shown = {**self._common(app), **switches, "tracing": None, "permission_keys": []}
        shown["model_config"] = self._config(app)
        return shown

    def detail(self, app: JsonObject) -> JsonObject:
        """Return an app as its own page shows it."""
        return {
            **self.switched(app),
            "permission_keys": PERMISSION_KEYS,
            "icon_type": app.get("icon_type"),
            "api_base_url": self.url + "/v1",
            "max_active_requests": None,
            "deleted_tools": [],
            "site": self.site(app),
            "bound_agent_id": None,
            "app_id": None,
            "icon_url": None,
        }

    def listed(self, app: JsonObject) -> JsonObject:
        """Return an app as lists show it: of its configuration only the model and the prompt."""
        config = app.get("model_config")
        if config is not None:
            names = ("model", "pre_prompt", "created_by", "created_at", "updated_by", "updated_at")
            config = {name: config.get(name) for name in names}
        return {
            **self._common(app),
            "model_config": config,
            "max_active_requests": None,
            "icon_type": app.get("icon_type"),
            "create_user_name": None,
            "author_name": self.author(app),
            "has_draft_trigger": False,
            "permission_keys": PERMISSION_KEYS,
            "bound_agent_id": None,
            "app_id": None,
            "is_starred": False,
            "icon_url": None,
        }

    def _config(self, app: JsonObject) -> JsonObject | None:
        """Return an app's configuration with what its annotations say."""
        config = app.get("model_config")
        if config is None:
            return None
        annotation = app.get("annotation")
        return {**config, "annotation_reply": OFF if annotation is None else annotation}

    def author(self, app: JsonObject) -> str | None:
        """Return the name of the account that made an app."""
        accounts = {account["id"]: account["name"] for account in (self.state["admin"], *self.state["members"])}
        return accounts.get(app.get("created_by"))

    def site(self, app: JsonObject) -> JsonObject:
        """Return the web page of an app."""
        at, by = app.get("at", 0), app.get("created_by")
        return {
            "access_token": app.get("code"),
            "code": app.get("code"),
            "title": app["name"],
            "icon_type": app.get("icon_type"),
            "icon": app.get("icon"),
            "icon_background": app.get("icon_background"),
            "description": None,
            "default_language": "en-US",
            "chat_color_theme": None,
            "chat_color_theme_inverted": False,
            "customize_domain": None,
            "copyright": None,
            "privacy_policy": None,
            "input_placeholder": None,
            "custom_disclaimer": "",
            "customize_token_strategy": "not_allow",
            "prompt_public": False,
            "app_base_url": self.url,
            "show_workflow_steps": True,
            "use_icon_as_answer_icon": False,
            "created_by": by,
            "created_at": at,
            "updated_by": by,
            "updated_at": at,
            "icon_url": None,
        }

    def site_for_users(self, app: JsonObject) -> JsonObject:
        """Return of an app's web page what the service API tells."""
        site = self.site(app)
        return {name: site[name] for name in OF_SITE}

    def parameters(self, app: JsonObject) -> JsonObject:
        """Return what an app's users need to know before they ask it."""
        published = app.get("workflows", {}).get("publish") or {}
        config = {**CONFIG, **(self._config(app) or {"annotation_reply": OFF, **published.get("features", {})})}
        names = (
            "opening_statement",
            "suggested_questions",
            "suggested_questions_after_answer",
            "speech_to_text",
            "text_to_speech",
            "retriever_resource",
            "annotation_reply",
            "more_like_this",
            "user_input_form",
            "sensitive_word_avoidance",
            "file_upload",
        )
        return {**{name: config[name] for name in names}, "system_parameters": SYSTEM_PARAMETERS}


def configured(given: JsonObject, by: str, at: int) -> JsonObject:
    """Return a configuration as it is kept: what is off has no settings, what is not named is that of a new app."""
    config = {**CONFIG, **{name: value for name, value in given.items() if name in (*CONFIG, "model")}}
    speech = config["text_to_speech"]
    config["text_to_speech"] = {"voice": "", "language": "", **speech}
    if not config["sensitive_word_avoidance"].get("enabled"):
        config["sensitive_word_avoidance"] = OFF
    return {**config, "created_by": by, "created_at": at, "updated_by": by, "updated_at": at}
