"""Paths of keys to the secrets of a role's settings, as its model's types give them; `*` is any name or place. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, SecretStr

SecretPath = tuple[str, ...]


def secret_paths(model: type[BaseModel]) -> tuple[SecretPath, ...]:
    """Every path that ends at a secret: `("clients", "*", "keys", "*", "key")`."""
    paths = [
        (name, *path)
        for name, field in model.model_fields.items()
        for annotation in (field.annotation, *map(_input_type, field.metadata))
        for path in _paths(annotation)
    ]
    return tuple(dict.fromkeys(paths))


def _input_type(metadata: Any) -> Any:
    """The type that a validator takes instead of the one it makes."""
    return metadata.json_schema_input_type if isinstance(metadata, BeforeValidator) else None


def _paths(annotation: Any) -> list[SecretPath]:
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return [()]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(secret_paths(annotation))
    arguments = (*get_args(annotation), *map(_input_type, getattr(annotation, "__metadata__", ())))
    inner = [path for argument in arguments for path in _paths(argument)]
    origin = get_origin(annotation)
    steps = isinstance(origin, type) and issubclass(origin, (Mapping, Sequence))
    return [("*", *path) for path in inner] if steps else inner


def is_on_a_path(keys: Sequence[Any], paths: Sequence[SecretPath]) -> bool:
    """Whether what lies at `keys` is a secret, or holds one."""
    return any(
        len(keys) <= len(path) and all(step in ("*", str(key)) for step, key in zip(path, keys, strict=False))
        for path in paths
    )
