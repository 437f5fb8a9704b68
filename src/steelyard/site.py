"""What is declared as a whole: `models.yml` (models, versions, services, aliases) and who serves what where.

The pydantic models here are validator, editor schema and reference page of `models.yml` at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from steelyard.errors import LimitMatchedNoHost, OptionOwned, PortTwice, SettingUnknown, SettingWrong, nearest_key
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.limit import Limit
from steelyard.inventory.locate import locate
from steelyard.models.sources import PINNED
from steelyard.models.sources.shape import Shape
from steelyard.serving.kinds import KINDS, Kind
from steelyard.settings import validated


class Serve(BaseModel):
    """How a model is served: by which engine, on which hosts, with which limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    engine: Literal["vllm", "llamacpp"] = Field(
        "vllm",
        description="The engine that serves it. `llamacpp`: llama.cpp's own server, for GGUF files; the version's folder holds one, or the parts of one.",
    )
    hosts: str = Field(description="Ansible host pattern: where a service of it runs.")
    port: int = Field(8000, ge=1024, le=65535, description="TCP port of the service on its host.")
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs one service spreads a layer over.")
    pipeline_parallel_size: int = Field(1, ge=1, description="Groups of GPUs one service spreads its layers over.")
    engine_version: str | None = Field(
        None,
        pattern=r"^[0-9][0-9A-Za-z.+-]*$",
        description="Version of the engine for this model; None: that of the engine's section. The mirror has its wheels in `vllm-VERSION/` beside those of `vllm.version`, and in `llamacpp-VERSION/`.",
    )
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="Share of GPU memory the engine may take.")
    max_model_len: int | None = Field(None, ge=1, description="Longest context in tokens; None: the model's own.")
    load_strategy: Literal["auto", "default", "sharded"] = Field(
        "auto",
        description="How weights are loaded. `auto`: the way that `steelyard bench load` found fastest on the host, until then the engine's own; `default`: the engine's own; `sharded`: from the variant that `steelyard models shard` made for this engine and its ranks.",
    )
    order: int = Field(
        100, ge=0, description="Services of a host warm up in this order when they start together; lowest first."
    )
    fit: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="What a plan does with a version that has no room on its host by the numbers of `models fit`: refuse it, or let the engine try.",
    )
    load: Literal["preload", "lazy"] = Field(
        "preload",
        description="`preload`: started at boot. `lazy`: started by the first request, which is held until it is answered, and stopped when nobody has asked for `idle_s`.",
    )
    idle_s: int = Field(900, ge=5, description="Seconds without a request after which a lazy service is stopped.")
    memory_gib: float | None = Field(
        None,
        gt=0,
        description="Memory of the host that a service of it needs, in GiB; those of a host share `vllm.memory_gib`. None: it is not counted.",
    )
    affinity: Literal["prefix", "session", "none"] = Field(
        "prefix",
        description="Which of several services gets a request. `prefix`: one that has seen the conversation's first messages; `session`: one that has seen its `X-Session-Id` or `user`; `none`: the less busy of two that are drawn by weight. By `prefix` and `session` none gets more than 1.5 times its share.",
    )
    weights: dict[str, Annotated[int, Field(ge=0, le=256)]] = Field(
        default_factory=dict, description="Host to its service's weight at the gateway, 0 to 256; others have 100."
    )
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="Further options as in the engine's own config file. Names that the engine does not know, and those that steelyard sets itself, are refused.",
    )
    options_check: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="What becomes of option names that are not known of this version of the engine; `ignore` passes them on.",
    )
    environment: dict[str, str] = Field(default_factory=dict, description="Further environment of the engine; not secret.")


class DifyEndpoint(BaseModel):
    """A further endpoint that serves the same model and shares its requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    endpoint: str = Field(
        pattern=r"^https?://\S+$", description="Its OpenAI-compatible address as Dify reaches it, with `/v1`."
    )
    key: str | None = Field(None, description="Name of its key in `dify.keys`; None: the key of the gateway's client.")
    model: str | None = Field(None, description="Name it knows the model by; None: the alias.")


class DifyModel(BaseModel):
    """How the model is registered in Dify."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["llm", "text-embedding", "rerank", "speech2text", "tts"] = Field("llm", description="Dify's model type.")
    label: str | None = Field(None, max_length=60, description="Name shown in Dify; None: the alias.")
    context_size: int | None = Field(None, ge=1, description="Context told to Dify; None: `serve.max_model_len` or 4096.")
    max_tokens: int = Field(1024, ge=1, description="Upper limit of an answer, told to Dify.")
    enabled: bool = Field(True, description="Whether users of the workspace may choose it.")
    default: bool = Field(False, description="Whether it is the workspace's default for its type.")
    credentials: dict[str, str] = Field(
        default_factory=dict,
        description="Further fields of the provider's form, checked by the form that Dify has now; not secret.",
    )
    further: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,20}$")], DifyEndpoint] = Field(
        default_factory=dict,
        description="Endpoints beside the gateway that share its requests by Dify's own load balancing, by name; needs MODEL_LB_ENABLED there.",
    )


class Model(BaseModel):
    """One model: where its files come from, which version is declared, who serves it, under which name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str = Field(
        pattern=PINNED,
        description="Where the files come from: `file:///folder` on this machine, or what `models add` printed for `hf://`, `modelscope://`, `https://`, `s3://`.",
    )
    convert: bool = Field(
        False, description="Whether pickle weights of the source are converted; `models add --convert` does it."
    )
    shard_mib: int | None = Field(
        None, ge=16, description="Cut its safetensors into files of about this size; `models add --shard-mib` does it; MiB."
    )
    code: bool = Field(False, description="Whether the version may hold code (.py, .so, .sh), which an engine may run.")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="Name of the immutable version.")
    serve: Serve | None = Field(None, description="How it is served; None: stored only.")
    alias: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,126}$", description="Name clients ask for.")
    dify: DifyModel | None = Field(None, description="Registration in Dify; None: not registered.")
    hosts: str | None = Field(None, description="Hosts that store it; None: those that serve it.")
    shared: str | None = Field(
        None,
        pattern=r"^/\S*[^/\s]$",
        description="Folder on the hosts that holds the same files, on a mounted NAS: verified there and used in place, not copied.",
    )
    signature: str | None = Field(
        None, description="What `models sign` printed; asked for where `model_store.trusted_keys` are."
    )

    @property
    def shape(self) -> Shape:
        return Shape(self.convert, self.shard_mib)


class Models(BaseModel):
    """`models.yml` as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    section: ClassVar[str] = ""
    model_root: str = Field("/models", pattern=r"^/\S*[^/\s]$", description="Folder above all models on every host.")
    models: dict[str, Model] = Field(default_factory=dict, description="Models by project name, `llm/qwen3-8b`.")


@dataclass(frozen=True)
class Service:
    """One engine process on one host. `name` is the unit's instance; `address` is where the gateway reaches it."""

    name: str
    model: str
    version: str
    host: str
    address: str
    alias: str | None
    serve: Serve

    @property
    def weight(self) -> int:
        """At the gateway."""
        return self.serve.weights.get(self.host, 100)

    @property
    def kind(self) -> Kind:
        return KINDS[self.serve.engine]

    @property
    def unit(self) -> str:
        """Of its engine."""
        return f"steelyard-{self.serve.engine}@{self.name}.service"

    @property
    def lazy(self) -> bool:
        return self.serve.load == "lazy"

    def engine_version(self, default: str) -> str:
        """`default`: the `version` of its engine's section."""
        return self.serve.engine_version or default


@dataclass(frozen=True)
class Site:
    """Everything declared, resolved: which host stores what, which services run where."""

    model_root: str
    models: dict[str, Model]
    services: tuple[Service, ...]
    stored_on: dict[str, tuple[str, ...]]
    addresses: dict[str, str]
    groups: dict[str, tuple[str, ...]]
    path: Path = Path("inventory")

    def written(self, *keys: str) -> str:
        """`FILE:LINE` of a key of the site, for error messages."""
        return locate(self.path, None, keys)

    def services_on(self, host: str) -> tuple[Service, ...]:
        return tuple(service for service in self.services if service.host == host)

    def aliases(self) -> dict[str, tuple[Service, ...]]:
        """Alias to its services, sorted by alias."""
        found: dict[str, list[Service]] = {}
        for service in self.services:
            if service.alias is not None:
                found.setdefault(service.alias, []).append(service)
        return {alias: tuple(found[alias]) for alias in sorted(found)}

    def address_of_group(self, group: str) -> str | None:
        """Address of the first host of a group."""
        names = self.groups.get(group, ())
        return self.addresses[names[0]] if names else None


def service_name(project: str, alias: str | None) -> str:
    """A unit instance name: letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", alias or project).strip("-").lower()


def site_of(fleet: Fleet) -> Site:
    """Resolve `models.yml`. Raises SettingUnknown, SettingWrong, SettingMissing, LimitMatchedNoHost, PortTwice."""
    first = fleet.hosts[0]
    declared: dict[str, Any] = {key: first.variables[key] for key in ("model_root", "models") if key in first.variables}
    models = validated(Models, declared, fleet, None, ())
    services: list[Service] = []
    stored: dict[str, tuple[str, ...]] = {}
    for project, model in models.models.items():
        serving: tuple[str, ...] = ()
        if model.serve is not None:
            serving = _pattern(fleet, model.serve.hosts, ("models", project, "serve", "hosts"))
            _check_options(fleet, project, model.serve, first.variables)
            _check_weights(fleet, project, model.serve, serving)
            for name in serving:
                services.append(_service(fleet, project, model, model.serve, name))
        wanted = _pattern(fleet, model.hosts, ("models", project, "hosts")) if model.hosts else serving
        stored[project] = tuple(dict.fromkeys([*serving, *wanted]))
    _refuse_shared_ports(fleet, services)
    addresses = {host.name: host.address for host in fleet.hosts}
    return Site(models.model_root, models.models, tuple(services), stored, addresses, fleet.groups, fleet.path)


def _service(fleet: Fleet, project: str, model: Model, serve: Serve, host: str) -> Service:
    name = service_name(project, model.alias)
    return Service(name, project, model.version, host, fleet.host(host).address, model.alias, serve)


def _check_options(fleet: Fleet, project: str, serve: Serve, variables: Mapping[str, Any]) -> None:
    """Raises OptionOwned, SettingUnknown, SettingWrong."""
    kind = KINDS[serve.engine]
    if serve.load_strategy == "sharded" and not kind.own_loading:
        where = locate(fleet.path, None, ("models", project, "serve", "load_strategy"))
        raise SettingWrong(where=where, key="load_strategy", found="sharded", allowed=f"auto or default with {kind.title}")
    section = variables.get(kind.section)
    version = serve.engine_version or str((section if isinstance(section, dict) else {}).get("version", kind.newest))
    names = kind.options.get(version) if serve.options_check == "refuse" else None
    for name in serve.options:
        where, word = locate(fleet.path, None, ("models", project, "serve", "options", name)), kind.plain(name)
        if word in kind.owned:
            raise OptionOwned(where=where, option=name, instead=kind.owned[word])
        if names is not None and word not in names:
            nearest = nearest_key(word, sorted(names))
            section_name = f"serve.options of {kind.title} {version}"
            allowed = "its own options; `options_check: ignore` passes any"
            raise SettingUnknown(where=where, section=section_name, found=name, allowed=allowed, nearest=nearest)


def _check_weights(fleet: Fleet, project: str, serve: Serve, hosts: tuple[str, ...]) -> None:
    """Raises SettingUnknown."""
    for name in serve.weights.keys() - set(hosts):
        where, nearest = locate(fleet.path, None, ("models", project, "serve", "weights", name)), nearest_key(name, list(hosts))
        raise SettingUnknown(where=where, section="serve.weights", found=name, allowed=", ".join(hosts), nearest=nearest)


def _pattern(fleet: Fleet, pattern: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return Limit(pattern).select(fleet)
    except LimitMatchedNoHost as error:
        error.where = locate(fleet.path, None, keys)
        raise


def _refuse_shared_ports(fleet: Fleet, services: list[Service]) -> None:
    taken: dict[tuple[str, int], Service] = {}
    for service in services:
        other = taken.setdefault((service.host, service.serve.port), service)
        if other is not service:
            where = locate(fleet.path, None, ("models", service.model, "serve", "port"))
            raise PortTwice(where=where, port=str(service.serve.port), first=other.name, second=service.name, host=service.host)
