"""Answers that do not depend on state, as 1.16.1 community gives them."""

from __future__ import annotations

from typing import Any

from .credential_forms import both
from .json_object import JsonObject

VERSION = "1.16.1"
SYSTEM_FEATURES: JsonObject = {
    "deployment_edition": "COMMUNITY",
    "enable_app_deploy": False,
    "sso_enforced_for_signin": False,
    "sso_enforced_for_signin_protocol": "",
    "enable_marketplace": False,
    "enable_email_code_login": False,
    "enable_email_password_login": True,
    "enable_social_oauth_login": False,
    "enable_collaboration_mode": True,
    "is_allow_register": False,
    "is_email_setup": False,
    "license": {"status": "none"},
    "branding": {"enabled": False, "application_title": "", "login_page_logo": "", "workspace_logo": "", "favicon": ""},
    "webapp_auth": {
        "enabled": False,
        "allow_sso": False,
        "sso_config": {"protocol": ""},
        "allow_email_code_login": False,
        "allow_email_password_login": False,
        "allow_public_access": True,
    },
    "plugin_installation_permission": {"plugin_installation_scope": "all", "restrict_to_marketplace_only": False},
    "enable_change_email": True,
    "enable_creators_platform": True,
    "enable_explore_banner": False,
    "enable_learn_app": True,
    "enable_step_by_step_tour": False,
    "rbac_enabled": False,
    "knowledge_fs_enabled": False,
}
FEATURES: JsonObject = {
    "billing": {"enabled": False, "subscription": {"plan": "sandbox", "interval": ""}},
    "education": {"enabled": False, "activated": False},
    "members": {"size": 0, "limit": 1},
    "apps": {"size": 0, "limit": 10},
    "knowledge_rate_limit": 10,
    "annotation_quota_limit": {"size": 0, "limit": 10},
    "documents_upload_quota": {"size": 0, "limit": 50},
    "docs_processing": "standard",
    "can_replace_logo": False,
    "model_load_balancing_enabled": False,
    "dataset_operator_enabled": False,
    "webapp_copyright_enabled": False,
    "workspace_members": {"enabled": False, "size": 0, "limit": 0},
    "is_allow_transfer_workspace": True,
    "trigger_event": {"usage": 0, "limit": 3000, "reset_date": 0},
    "api_rate_limit": {"usage": 0, "limit": 5000, "reset_date": 0},
    "human_input_email_delivery_enabled": True,
    "knowledge_pipeline": {"publish_enabled": False},
    "next_credit_reset_date": 0,
}
VERSION_ANSWER: JsonObject = {
    "version": VERSION,
    "release_date": "",
    "release_notes": "",
    "can_auto_update": False,
    "features": {"can_replace_logo": False, "model_load_balancing_enabled": False},
}
# name, template, type, default, min, max, precision, options
RULES: list[Any] = [
    ("temperature", None, "float", 0.7, 0.0, 2.0, 2, []),
    ("top_p", None, "float", 1.0, 0.0, 1.0, 2, []),
    ("frequency_penalty", None, "float", 0.0, -2.0, 2.0, None, []),
    ("presence_penalty", None, "float", 0.0, -2.0, 2.0, None, []),
    ("max_tokens", None, "int", 512, 1.0, None, None, []),
    ("response_format", None, "string", None, None, None, None, ["text", "json_object", "json_schema"]),
    ("json_schema", "json_schema", "text", None, None, None, None, []),
    ("enable_thinking", None, "boolean", None, None, None, None, []),
    ("reasoning_format", None, "string", None, None, None, None, ["none", "auto", "deepseek", "deepseek-legacy"]),
    ("reasoning_effort", None, "string", None, None, None, None, ["low", "medium", "high"]),
]


# English and Chinese
LABELS = {
    "temperature": ("Temperature", "温度"),
    "top_p": ("Top P", "Top P"),
    "frequency_penalty": ("Frequency Penalty", "频率惩罚"),
    "presence_penalty": ("Presence Penalty", "存在惩罚"),
    "max_tokens": ("Max Tokens", "最大标记"),
    "response_format": ("Response Format", "回复格式"),
    "json_schema": ("JSON Schema", "JSON Schema"),
    "enable_thinking": ("Thinking mode", "思考模式"),
    "reasoning_format": ("Reasoning Format", "推理格式"),
    "reasoning_effort": ("Reasoning effort", "推理工作"),
}


def parameter_rules(max_tokens: int) -> list[JsonObject]:
    keys = ("name", "use_template", "type", "default", "min", "max", "precision", "options")
    entries = []
    for rule in RULES:
        entry = dict(zip(keys, rule), label=label_of(rule[0]), help=both(""), required=False)  # noqa: B905  runs on Python 3.9 too
        if rule[0] == "max_tokens":
            entry["max"] = float(max_tokens)
        entries.append(entry)
    return entries


def label_of(rule: str) -> dict[str, str]:
    """Return the label of a parameter in the two languages."""
    english, chinese = LABELS[rule]
    return {"zh_Hans": chinese, "en_US": english}
