"""The schema of `models.yml`: models, versions, how they are served.

One pydantic model is validator and page at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from steelyard.api.names import (
    Alias,
    EngineValue,
    EngineVariable,
    EngineVersion,
    Folder,
    Project,
    Url,
    Version,
)
from steelyard.serving.kinds import KINDS

HASH = "[0-9a-f]{64}"
PINNED = (
    rf"^(file://\S+|hf://[^@\s#]+@[0-9a-f]{{40}}|modelscope://[^@\s#]+@[^\s#]+#sha256={HASH}"
    rf"|https?://[^\s#]+#sha256={HASH}|s3://[^\s#]+#sha256={HASH})$"
)


@dataclass(frozen=True)
class Conversion:
    """A change of a source's files before they become a version.

    `convert`: pickle weights become safetensors; `shard_mib`: safetensors are cut anew into files of about this size.
    """

    convert: bool = False
    shard_mib: int | None = None

    @property
    def changes(self) -> bool:
        """True where files are not taken as they are."""
        return self.convert or self.shard_mib is not None


NO_CONVERSION = Conversion()


class Serve(BaseModel):
    """The service of a model: by which engine, on which hosts, with which limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    engine: Literal["vllm", "llamacpp"] = Field(
        "vllm",
        description=(
            "The engine that serves it. `llamacpp`: llama.cpp's own server, for GGUF files; the version's "
            "folder holds one, or the parts of one."
        ),
    )
    hosts: str = Field(description="Ansible host pattern: where a service of it runs.")
    port: int = Field(8000, ge=1024, le=65535, description="TCP port of the service on its host.")
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs one service spreads a layer over.")
    pipeline_parallel_size: int = Field(1, ge=1, description="Groups of GPUs one service spreads its layers over.")
    engine_version: EngineVersion | None = Field(
        None,
        description=(
            "Version of the engine for this model; None: that of the engine's section. The mirror has its "
            "wheels in `vllm-VERSION/` beside those of `vllm.version`, and in `llamacpp-VERSION/`."
        ),
    )
    gpu_memory_utilization: float = Field(
        0.9,
        gt=0,
        le=1,
        description=(
            "Share of each GPU's memory that the engine may take. On a host without GPUs: of the host's "
            "memory, where `VLLM_CPU_KVCACHE_SPACE` is not in `environment`."
        ),
    )
    max_model_len: int | None = Field(None, ge=1, description="Longest context in tokens; None: the model's own.")
    load_strategy: Literal["auto", "default", "sharded"] = Field(
        "auto",
        description=(
            "How weights are loaded. `auto`: the way that `steelyard bench load` found fastest on the host, "
            "until then the engine's own; `default`: the engine's own; `sharded`: from the variant that "
            "`steelyard models shard` made for this engine and its ranks."
        ),
    )
    order: int = Field(
        100, ge=0, description="Services of a host warm up in this order when they start together; lowest first."
    )
    fit: Literal["refuse", "ignore"] = Field(
        "refuse",
        description=(
            "What a plan does with a version that has no room on its host by the numbers of `models fit`: "
            "refuse it, or let the engine try."
        ),
    )
    load: Literal["preload", "lazy"] = Field(
        "preload",
        description=(
            "`preload`: started at boot. `lazy`: started by the first request, which is held until it is "
            "answered, and stopped when nobody has asked for `idle_s`."
        ),
    )
    idle_s: int = Field(900, ge=5, description="Seconds without a request after which a lazy service is stopped.")
    memory_gib: float | None = Field(
        None,
        gt=0,
        description=(
            "Memory of the host that a service of it needs, in GiB; those of a host share `vllm.memory_gib`. "
            "None: it is not counted."
        ),
    )
    affinity: Literal["prefix", "session", "none"] = Field(
        "prefix",
        description=(
            "Which of several services gets a request. `prefix`: one that has seen the conversation's first "
            "messages; `session`: one that has seen its `X-Session-Id` or `user`; `none`: the less busy of two "
            "that are drawn by weight. By `prefix` and `session` none gets more than 1.5 times its share."
        ),
    )
    weights: dict[str, Annotated[int, Field(ge=0, le=256)]] = Field(
        default_factory=dict, description="Host to its service's weight at the gateway, 0 to 256; others have 100."
    )
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description=(
            "Further options as in the engine's own config file. Names that the engine does not know, and "
            "those that steelyard sets itself, are refused."
        ),
    )
    options_check: Literal["refuse", "ignore"] = Field(
        "refuse",
        description=(
            "What becomes of option names that are not known of this version of the engine; `ignore` passes them on."
        ),
    )
    environment: dict[EngineVariable, EngineValue] = Field(
        default_factory=dict,
        description="Further environment of the engine, as it stands; not secret, and no `STEELYARD_...`.",
    )

    def options_by_name(self) -> dict[str, str | int | float | bool]:
        """The options under the one spelling of each name, for code that reads them; `options` is what is written.

        `max_num_seqs: 8` is `max-num-seqs` for vLLM, and `no-enforce-eager: true` is `enforce-eager: false`.
        """
        plain = KINDS[self.engine].options.plain
        by_name = {}
        for name, value in self.options.items():
            is_negated = name.replace("_", "-") == f"no-{plain(name)}" and isinstance(value, bool)
            by_name[plain(name)] = not value if is_negated else value
        return by_name


class DifyEndpoint(BaseModel):
    """A further endpoint that serves the same model and shares its requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    endpoint: Url = Field(description="Its OpenAI-compatible address as Dify reaches it, with `/v1`.")
    key: str | None = Field(None, description="Name of its key in `dify.keys`; None: the key of the gateway's client.")
    model: str | None = Field(None, description="Name it knows the model by; None: the alias.")


class DifyModel(BaseModel):
    """The registration of the model in Dify."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["llm", "text-embedding", "rerank", "speech2text", "tts"] = Field(
        "llm", description="Dify's model type."
    )
    label: str | None = Field(None, max_length=60, description="Name shown in Dify; None: the alias.")
    context_size: int | None = Field(
        None, ge=1, description="Context told to Dify; None: `serve.max_model_len` or 4096."
    )
    max_tokens: int = Field(1024, ge=1, description="Upper limit of an answer, told to Dify.")
    enabled: bool = Field(True, description="Whether users of the workspace may choose it.")
    default: bool = Field(False, description="Whether it is the workspace's default for its type.")
    vectors_as: dict[Version, Version] = Field(
        default_factory=dict,
        description=(
            "Of a text-embedding model: version to the version whose vectors are the same, or to itself where "
            "knowledge bases are indexed again. While they use the model, a version that is not here, and another than "
            "before, is refused."
        ),
    )
    credentials: dict[str, str] = Field(
        default_factory=dict,
        description="Further fields of the provider's form, checked by the form that Dify has now; not secret.",
    )
    further: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,20}$")], DifyEndpoint] = Field(
        default_factory=dict,
        description=(
            "Endpoints beside the gateway that share its requests by Dify's own load balancing, by name; needs "
            "MODEL_LB_ENABLED there."
        ),
    )


class Model(BaseModel):
    """One model: where its files come from, which version is declared, who serves it, under which name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str = Field(
        pattern=PINNED,
        description=(
            "Where the files come from: `file:///folder` on this machine, or what `models add` printed for "
            "`hf://`, `modelscope://`, `https://`, `s3://`."
        ),
    )
    convert: bool = Field(
        False, description="Whether pickle weights of the source are converted; `models add --convert` does it."
    )
    shard_mib: int | None = Field(
        None,
        ge=16,
        description="Cut its safetensors into files of about this size; `models add --shard-mib` does it; MiB.",
    )
    code: bool = Field(False, description="Whether the version may hold code (.py, .so, .sh), which an engine may run.")
    version: Version = Field(description="Name of the immutable version; not `current` or `previous`, which are links.")
    serve: Serve | None = Field(None, description="How it is served; None: stored only.")
    alias: Alias | None = Field(
        None,
        description="Name clients ask for; none of a host or a gateway differs only in what is no letter or digit.",
    )
    dify: DifyModel | None = Field(None, description="Registration in Dify; None: not registered.")
    hosts: str | None = Field(None, description="Hosts that store it; None: those that serve it.")
    shared: Folder | None = Field(
        None,
        description=(
            "Folder on the hosts that holds the same files, on a mounted NAS: verified there and used in "
            "place, not copied."
        ),
    )
    signature: str | None = Field(
        None, description="What `models sign` printed; asked for where `model_store.trusted_keys` are."
    )

    @property
    def conversion(self) -> Conversion:
        """The change of its source's files that the model declares."""
        return Conversion(self.convert, self.shard_mib)


class ModelsFile(BaseModel):
    """`models.yml` as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    section: ClassVar[str] = ""
    model_root: Folder = Field("/models", description="Folder above all models on every host.")
    models: dict[Project, Model] = Field(
        default_factory=dict, description="Models by project name, `llm/qwen3-8b`: their folders, none within another."
    )
