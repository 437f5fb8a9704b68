"""Resolution of `models.yml` to who serves what where; whatever cannot be is refused with its place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steelyard.errors import (
    LimitFileWrong,
    LimitMatchedNoHost,
    OptionOwned,
    PortTwice,
    SettingUnknown,
    SettingWrong,
    nearest_key,
)
from steelyard.inventory.fleet import ADDRESS_NAMES, Fleet, FleetHost
from steelyard.inventory.limit import Limit
from steelyard.inventory.locate import locate
from steelyard.serving.kinds import KINDS
from steelyard.site.schema import Model, ModelsFile, Serve
from steelyard.site.site import Service, Site, service_name
from steelyard.site.validation import validated

from .name_clashes import refuse_nested_projects, refuse_unfit_services

MODELS = ("model_root", "models")  # variables of the site


def site_of(fleet: Fleet) -> Site:
    """Resolve `models.yml`. Raises SettingUnknown, SettingWrong, SettingMissing, LimitMatchedNoHost, NameWrong,
    NamesMeet, PortTwice.
    """
    first = _first_that_says_models(fleet)
    declared: dict[str, Any] = {key: first.variables[key] for key in MODELS if key in first.variables}
    models = validated(ModelsFile, declared, fleet, None, ())
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
    refuse_nested_projects(fleet, tuple(models.models))
    refuse_unfit_services(fleet, services)
    _refuse_shared_ports(fleet, services)
    addresses = Addresses(fleet)
    return Site(models.model_root, models.models, tuple(services), stored, addresses, fleet.groups, fleet.path)


def _first_that_says_models(fleet: Fleet) -> FleetHost:
    """The host whose variables are the site's: the first that could be resolved. Raises what the first lacks."""
    for host in fleet.hosts:
        if not {"", *MODELS} & set(host.unresolved):
            return host
    error = fleet.hosts[0].error
    assert error is not None
    raise error


class Addresses(dict[str, str]):
    """Host to address. Who asks for one that could not be resolved gets that error: a guess would be written down."""

    def __init__(self, fleet: Fleet) -> None:
        reached = (host for host in fleet.hosts if not {"", *ADDRESS_NAMES} & set(host.unresolved))
        super().__init__((host.name, host.address) for host in reached)
        self._errors = {host.name: host.error for host in fleet.hosts if host.error is not None}

    def __missing__(self, name: str) -> str:
        raise self._errors.get(name) or KeyError(name)


def _service(fleet: Fleet, project: str, model: Model, serve: Serve, host: str) -> Service:
    name = service_name(project, model.alias)
    return Service(name, project, model.version, host, fleet.host(host).address, model.alias, serve)


def _check_options(fleet: Fleet, project: str, serve: Serve, variables: Mapping[str, Any]) -> None:
    """Check the engine's options. Raises OptionOwned, SettingUnknown, SettingWrong."""
    kind = KINDS[serve.engine]
    if serve.load_strategy == "sharded" and not kind.own_loading:
        where = locate(fleet.path, None, ("models", project, "serve", "load_strategy"))
        raise SettingWrong(
            where=where, key="load_strategy", found="sharded", allowed=f"auto or default with {kind.title}"
        )
    section = variables.get(kind.section)
    version = serve.engine_version or str(
        (section if isinstance(section, dict) else {}).get("version", kind.options.newest)
    )
    names = kind.options.known.get(version) if serve.options_check == "refuse" else None
    for name in serve.options:
        where, word = locate(fleet.path, None, ("models", project, "serve", "options", name)), kind.options.plain(name)
        if word in kind.options.owned:
            raise OptionOwned(where=where, option=name, instead=kind.options.owned[word])
        if names is not None and word not in names:
            nearest = nearest_key(word, sorted(names))
            section_name = f"serve.options of {kind.title} {version}"
            allowed = "its own options; `options_check: ignore` passes any"
            raise SettingUnknown(where=where, section=section_name, found=name, allowed=allowed, nearest=nearest)


def _check_weights(fleet: Fleet, project: str, serve: Serve, hosts: tuple[str, ...]) -> None:
    """Check that weights are of hosts that serve the model. Raises SettingUnknown."""
    for name in serve.weights.keys() - set(hosts):
        where, nearest = (
            locate(fleet.path, None, ("models", project, "serve", "weights", name)),
            nearest_key(name, list(hosts)),
        )
        raise SettingUnknown(
            where=where, section="serve.weights", found=name, allowed=", ".join(hosts), nearest=nearest
        )


def _pattern(fleet: Fleet, pattern: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return Limit(pattern).select(fleet)
    except (LimitFileWrong, LimitMatchedNoHost) as error:
        error.where = locate(fleet.path, None, keys)
        raise


def _refuse_shared_ports(fleet: Fleet, services: list[Service]) -> None:
    taken: dict[tuple[str, int], Service] = {}
    for service in services:
        other = taken.setdefault((service.host, service.serve.port), service)
        if other is not service:
            where = locate(fleet.path, None, ("models", service.model, "serve", "port"))
            raise PortTwice(
                where=where, port=str(service.serve.port), first=other.name, second=service.name, host=service.host
            )
