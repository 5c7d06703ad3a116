"""Alpaca's OpenAPI descriptions as validators. They lie beside the repository, and only there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "alpaca-openapi"
TRADING, DATA = "trading-api.json", "market-data-api.json"
# What the descriptions lack, although Alpaca sends it: crypto assets have their own exchange.
# Objects that another one extends by `allOf`.
_EXTENDED = frozenset({"stock_snapshot"})
_ADDED_ENUM_VALUES = {"Exchange": ["CRYPTO"]}

needs_descriptions = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"Alpaca's OpenAPI descriptions are not at {FOLDER}"
)


@lru_cache(maxsize=2)
def description(name: str) -> dict[str, Any]:
    """One description, as published."""
    found = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


@lru_cache(maxsize=2)
def _components(name: str) -> dict[str, Any]:
    schemas = description(name)["components"]["schemas"]
    converted = {key: _convert(each, closed=key not in _EXTENDED) for key, each in schemas.items()}
    for key, values in _ADDED_ENUM_VALUES.items():
        if key in converted:
            converted[key]["enum"] = [*converted[key]["enum"], *values]
    return {"schemas": converted}


def operation(name: str, path: str) -> dict[str, Any]:
    """The GET of a path."""
    found = description(name)["paths"][path]["get"]
    assert isinstance(found, dict)
    return found


def parameters(name: str, path: str) -> Iterator[dict[str, Any]]:
    """Its parameters, resolved."""
    for raw in operation(name, path).get("parameters", []):
        yield resolve(name, raw)


def resolve(name: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """Follow a `$ref` as long as there is one."""
    found: Any = dict(node)
    while "$ref" in found:
        target: Any = description(name)
        for part in found["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        found = target
    return dict(found)


def errors(name: str, path: str, body: object) -> list[str]:
    """What is wrong with a 200 answer. Keys that the description lacks are wrong, too.

    Of a long list the first and the last fifty are looked at.
    """
    if isinstance(body, list) and len(body) > 100:
        body = body[:50] + body[-50:]
    answer = resolve(name, operation(name, path)["responses"]["200"])
    schema = _convert(answer["content"]["application/json"]["schema"])
    validator = Draft202012Validator(
        schema | {"components": _components(name)}, format_checker=FormatChecker()
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]


def _convert(node: Any, *, closed: bool = True) -> Any:
    # OpenAPI 3.0 to JSON Schema 2020-12: `nullable`, and objects without surprises.
    if isinstance(node, list):
        return [_convert(item, closed=closed) for item in node]
    if not isinstance(node, dict):
        return node
    made = {
        key: _convert(value, closed=closed and key != "allOf")
        for key, value in node.items()
        if key not in ("discriminator", "example", "examples", "xml")
    }
    if closed and isinstance(made.get("properties"), dict) and "type" in made:
        made.setdefault("additionalProperties", False)
    if made.pop("nullable", False):
        made = {"anyOf": [made, {"type": "null"}]}
    return made
