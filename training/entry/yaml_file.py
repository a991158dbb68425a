"""Reads a YAML file into frozen dataclasses, checked by pydantic: an error names the key."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from n3d_core.errors import ConfigError, optional

Settings = TypeVar("Settings")
_WANTED = {"int_type": "int", "float_type": "float", "bool_type": "bool", "string_type": "str", "dict_type": "dict",
           "list_type": "list", "tuple_type": "list"}  # fmt: skip


class Strict:
    """Base of a YAML file's dataclasses: unknown keys are errors, and only int is converted, to float."""

    __pydantic_config__ = {"extra": "forbid", "strict": True}  # noqa: RUF012 - pydantic wants a plain dict


class _Loader(yaml.SafeLoader):
    """YAML whose floats need no point: `1e-4` is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_settings(kind: type[Settings], path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a YAML file.

    Args:
        kind: a dataclass derived from `Strict`.
        overrides: `a.b=value` strings that override the file.

    Raises:
        ConfigError: if the file cannot be read, or a key is unknown, missing, or of the wrong type.
    """
    with optional("reading a YAML file needs pydantic", "'n3d-ros[train]'"):
        from pydantic import TypeAdapter, ValidationError
    try:
        data = yaml.load(Path(path).read_text(), _Loader)
        for override in overrides:
            key, sep, value = override.partition("=")
            if not sep:
                raise ConfigError(f"an override must be key=value, such as optim.lr=1e-4; got {override!r}")
            _set(data, key.split("."), yaml.load(value, _Loader), override)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    try:
        # through JSON, where a strict pydantic still takes mappings for dataclasses and lists for tuples
        return TypeAdapter(kind).validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_sentence(kind, error)}") from error


def _set(data: Any, keys: Sequence[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {}) if isinstance(data, dict) else data
    if not isinstance(data, dict):
        raise ConfigError(f"override {override!r}: {'.'.join(keys[:-1]) or 'the file'} is not a mapping")
    data[keys[-1]] = value


def _sentence(kind: Any, error: Any) -> str:
    """The first problem, in this package's wording."""
    first = error.errors()[0]  # of a pydantic.ValidationError
    path, wrong, value = [str(p) for p in first["loc"]], first["type"], first["input"]
    name = ".".join(path)
    where = f" in {name.rpartition('.')[0]}" if len(path) > 1 else ""
    if wrong == "unexpected_keyword_argument":
        return f"unknown key {path[-1]!r}{where}; known keys are {', '.join(_known(kind, path[:-1]))}"
    if wrong == "missing":
        return f"the key {name!r} is missing"
    if wrong == "dataclass_type":
        return f"{name or 'the file'} must be a mapping; got {value!r} ({type(value).__name__})"
    return f"{name} must be {_WANTED.get(wrong, first['msg'])}; got {value!r}"


def _known(kind: Any, path: Sequence[str]) -> list[str]:
    for key in path:
        kind = get_type_hints(kind)[key]
    return [f.name for f in fields(kind)] if is_dataclass(kind) else []
