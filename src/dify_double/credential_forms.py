"""The credential forms of the three providers the double knows, and the checks Dify makes with them."""

from __future__ import annotations

from .json_object import JsonObject

# variable, type, required, default, options, model type (None: every type); in the provider's order
Field = tuple[str, str, bool, "str | None", tuple[str, ...], "str | None"]  # quoted: Python 3.9 runs it too
YES_NO = ("support", "no_support")
OPENAI_COMPATIBLE: list[Field] = [
    ("display_name", "text-input", False, None, (), None),
    ("api_key", "secret-input", False, None, (), None),
    ("language", "select", False, "zh", ("zh", "en", "ja", "ko"), "speech2text"),
    ("initial_prompt", "text-input", False, None, (), "speech2text"),
    ("endpoint_url", "text-input", True, None, (), None),
    ("endpoint_model_name", "text-input", False, None, (), None),
    ("mode", "select", False, "chat", ("completion", "chat"), "llm"),
    ("context_size", "text-input", True, "4096", (), "llm"),
    ("max_chunks", "text-input", True, "1", (), "text-embedding"),
    ("context_size", "text-input", True, "4096", (), "text-embedding"),
    ("encoding_format", "select", False, "not_set", ("not_set", "float"), "text-embedding"),
    ("vision_support", "select", False, "no_support", YES_NO, "text-embedding"),
    ("context_size", "text-input", True, "4096", (), "rerank"),
    ("vision_support", "select", False, "no_support", YES_NO, "rerank"),
    ("max_tokens_to_sample", "text-input", False, "4096", (), "llm"),  # its YAML has no `required`: false to the daemon
    (
        "agent_thought_support",
        "select",
        False,
        "not_supported",
        ("only_thinking_supported", "not_supported", "supported"),
        "llm",
    ),
    (
        "web_search_support",
        "select",
        False,
        "not_supported",
        ("not_supported", "tool_standard", "tool_simple", "parameter"),
        "llm",
    ),
    ("compatibility_mode", "select", False, "strict", ("strict", "extended"), "llm"),
    ("token_param_name", "select", False, "auto", ("auto", "max_tokens", "max_completion_tokens"), "llm"),
    ("user_identity_support", "select", False, "support", YES_NO, "llm"),
    ("stream_include_usage", "select", False, "enabled", ("enabled", "disabled"), "llm"),
    ("function_calling_type", "select", False, "no_call", ("function_call", "tool_call", "no_call"), "llm"),
    ("stream_function_calling", "select", False, "not_supported", ("supported", "not_supported"), "llm"),
    ("vision_support", "select", False, "no_support", YES_NO, "llm"),
    ("video_support", "select", False, "no_support", YES_NO, "llm"),
    ("audio_support", "select", False, "no_support", YES_NO, "llm"),
    ("document_support", "select", False, "no_support", YES_NO, "llm"),
    ("structured_output_support", "select", False, "not_supported", ("supported", "not_supported"), "llm"),
    ("stream_mode_auth", "select", False, "not_use", ("use", "not_use"), "llm"),
    ("stream_mode_delimiter", "text-input", False, "\\n\\n", (), "llm"),
    ("voices", "text-input", False, "alloy", (), "tts"),
    ("tts_api_format", "select", False, "openai", ("openai", "byteplus"), "tts"),
    ("tts_resource_id", "text-input", False, None, (), "tts"),
    ("tts_sample_rate", "select", False, "24000", ("24000", "16000", "8000"), "tts"),
    ("document_prefix", "text-input", False, "", (), "text-embedding"),
    ("query_prefix", "text-input", False, "", (), "text-embedding"),
]
VLLM_FIELDS = (
    "display_name",
    "api_key",
    "endpoint_url",
    "endpoint_model_name",
    "mode",
    "context_size",
    "max_tokens_to_sample",
    "agent_thought_support",
    "compatibility_mode",
    "function_calling_type",
    "stream_function_calling",
    "vision_support",
    "structured_output_support",
    "stream_mode_auth",
    "stream_mode_delimiter",
)
VLLM: list[Field] = [field for field in OPENAI_COMPATIBLE if field[0] in VLLM_FIELDS and field[5] in (None, "llm")]

OPENAI_PROVIDER: list[Field] = [
    ("openai_api_key", "secret-input", True, None, (), None),
    ("openai_organization", "text-input", False, None, (), None),
    ("openai_api_base", "text-input", False, None, (), None),
    ("validate_model", "text-input", False, None, (), None),
    ("api_protocol", "select", False, "responses", ("responses", "chat"), None),
    ("enable_request_metadata", "select", False, "disabled", ("enabled", "disabled"), None),
]
OPENAI: list[Field] = [field for field in OPENAI_PROVIDER if field[0] != "validate_model"]

# `configured`: how the provider may be set up; one with a form of its own has `provider_fields`
PROVIDERS: dict[str, JsonObject] = {
    "langgenius/openai_api_compatible/openai_api_compatible": {
        "label": "OpenAI-API-compatible",
        "types": ["llm", "rerank", "text-embedding", "speech2text", "tts"],
        "description": "Model providers compatible with OpenAI's API standard, such as LM Studio.",
        "configured": ["customizable-model"],
        "fields": OPENAI_COMPATIBLE,
        "provider_fields": None,
        "background": None,
        "plugin": "langgenius/openai_api_compatible",
        "plugin_label": "OpenAI-API-compatible",
        "plugin_meta": "0.0.1",
        "icon": "icon.svg",
        "version": "0.0.63",
    },
    "yangyaofei/vllm/vllm": {
        "label": "Vllm",
        "types": ["llm"],
        "description": "vllm provider",
        "configured": ["customizable-model"],
        "fields": VLLM,
        "provider_fields": None,
        "background": None,
        "plugin": "yangyaofei/vllm",
        "plugin_label": "vllm",
        "plugin_meta": "0.2.3",
        "icon": "icon_s_en.svg",
        "version": "0.2.3",
    },
    "langgenius/openai/openai": {
        "label": "OpenAI",
        "types": ["llm", "text-embedding", "speech2text", "moderation", "tts"],
        "description": "Current language, embedding, moderation, and audio models from OpenAI.",
        "configured": ["predefined-model", "customizable-model"],
        "fields": OPENAI,
        "provider_fields": OPENAI_PROVIDER,
        "background": "#E5E7EB",
        "plugin": "langgenius/openai",
        "plugin_label": "OpenAI",
        "plugin_meta": "0.0.1",
        "icon": "icon_s_en.svg",
        "version": "0.9.1",
    },
}
HIDDEN = "[__HIDDEN__]"
TYPE_NAMES = {"embeddings": "text-embedding", "text-generation": "llm", "reranking": "rerank"}


class Invalid(Exception):
    """A refusal with Dify's own words, answered as 400 invalid_param."""


class DoubleBroken(Exception):
    """A state or value with which the real one answers 500."""


def fields_for(provider: str, model_type: str) -> list[Field]:
    return [field for field in PROVIDERS[provider]["fields"] if field[5] in (None, model_type)]


def checked(provider: str, model_type: str, given: JsonObject) -> dict[str, str]:
    """The credentials of a model as Dify stores them. Raises like `stored_by`."""
    return stored_by(fields_for(provider, model_type), given)


def stored_by(fields: list[Field], given: JsonObject) -> dict[str, str]:
    """The credentials as Dify stores them: known fields in form order, defaults of optional ones, in Dify's order of
    complaints. Raises Invalid, and DoubleBroken for a value that is not a string: it breaks the real one.
    """
    stored: dict[str, str] = {}
    for name, kind, required, default, options, _ in fields:
        value = given.get(name)
        if value is None or value == "":
            if required:
                raise Invalid("Variable %s is required" % name)
            if name in given and value == "":
                stored[name] = ""
            elif default:
                stored[name] = default
            continue
        if not isinstance(value, str):
            raise DoubleBroken(name)
        if kind == "select" and value not in options:
            raise Invalid("Variable %s is not in options" % name)
        stored[name] = value
    return stored


def obfuscated(value: str) -> str:
    return value[:6] + "*" * 12 + value[-2:] if len(value) > 8 else "*" * 20


def shown(provider: str, model_type: str, stored: dict[str, str]) -> dict[str, str]:
    """Stored credentials as the API gives them back: secrets masked."""
    return masked(fields_for(provider, model_type), stored)


def masked(fields: list[Field], stored: dict[str, str]) -> dict[str, str]:
    """Values whose secrets are hidden but for their ends."""
    secrets = {field[0] for field in fields if field[1] == "secret-input"}
    return {name: obfuscated(value) if name in secrets else value for name, value in stored.items()}


def both(text: str) -> dict[str, str]:
    return {"zh_Hans": text, "en_US": text}


def form_json(field: Field) -> JsonObject:
    name, kind, required, default, options, model_type = field
    return {
        "variable": name,
        "label": both(name),
        "type": kind,
        "required": required,
        "default": default,
        "options": [{"label": both(option), "value": option, "show_on": []} for option in options],
        "placeholder": None,
        "max_length": 0,
        "show_on": [{"variable": "__model_type", "value": model_type}] if model_type else [],
    }
