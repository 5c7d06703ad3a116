"""Validators for the answers of Alpaca's trading paths, made from its own description."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from .openapi import FOLDER, TRADING, _components, _convert, description, resolve

# Keys that Alpaca sends although the schemas do not list them: on the stream, and in the
# description's own examples of orders and of the account.
ADDED_KEYS: dict[str, tuple[str, ...]] = {
    "Order": ("cancel_requested_at", "source", "subtag"),
    "OrderLeg": ("cancel_requested_at", "expires_at", "ratio_qty", "source", "subtag"),
    "Account": (
        "admin_configurations",
        "bod_dtbp",
        "crypto_tier",
        "effective_buying_power",
        "position_market_value",
        "user_configurations",
    ),
    # An order that could not be canceled says why (alpaca-py's model has it, too).
    "CanceledOrderResponse": ("body",),
    # The page on crypto fees shows both in a CFEE.
    "NonTradeActivities": ("description", "price"),
}
ERROR_KEYS = {"code", "message"}
PREFIXES = ("/v2/account", "/v2/orders", "/v2/positions")
# Options are not traded here: these answer 404.
LEFT_OUT = ("exercise", "do-not-exercise")


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Every trading operation of the description that the venue answers: method, path, object.

    None where the description is absent: the tests say so by being skipped.
    """
    if not FOLDER.is_dir():
        return []
    return [
        (method.upper(), path, found)
        for path, methods in description(TRADING)["paths"].items()
        if path.startswith(PREFIXES) and not path.endswith(LEFT_OUT)
        for method, found in methods.items()
        if method != "parameters"
    ]


def template_of(path: str) -> str | None:
    """The description's path for a real one."""
    for _, template, _ in operations():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if re.fullmatch(pattern, path):
            return template
    return None


@lru_cache(maxsize=1)
def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = _components(TRADING)["schemas"]
    schemas = {name: dict(schema) for name, schema in schemas.items()}
    for name, keys in ADDED_KEYS.items():
        properties = {**schemas[name]["properties"], **{key: {} for key in keys}}
        schemas[name] = {**schemas[name], "properties": properties}
    closed = schemas["PositionClosedReponse"]
    failed = {"type": "object", "required": ["code", "message"]}
    body = {"anyOf": [closed["properties"]["body"], failed]}
    properties = {**closed["properties"], "body": body}
    schemas["PositionClosedReponse"] = {**closed, "properties": properties}
    return schemas


@lru_cache(maxsize=64)
def _validator(method: str, template: str, status: int) -> Draft202012Validator | None:
    """None where the description has an answer without content; KeyError where it has none."""
    found = description(TRADING)["paths"][template][method.lower()]
    answer = resolve(TRADING, found["responses"][str(status)])
    if "content" not in answer:
        return None
    schema = _convert(answer["content"]["application/json"]["schema"])
    components = {"schemas": _schemas()}
    return Draft202012Validator(schema | {"components": components}, format_checker=FormatChecker())


def faults(method: str, path: str, status: int, body: object) -> list[str]:
    """What is wrong with an answer; every error has Alpaca's body."""
    if status >= 400:
        return _faults_of_error(status, body)
    template = template_of(path)
    if template is None:
        return [f"{method} {path} is not described and answered {status}"]
    try:
        validator = _validator(method, template, status)
    except KeyError:
        return [f"{method} {template} answered {status}, which is not described"]
    if validator is None:
        return [] if body is None else ["an answer without content has a body"]
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]


def _faults_of_error(status: int, body: object) -> list[str]:
    if status not in {400, 403, 404, 422}:
        return [f"status {status}"]
    if not isinstance(body, dict) or not body.keys() >= ERROR_KEYS:
        return [f"not an error body: {body}"]
    if not isinstance(body["code"], int) or not isinstance(body["message"], str):
        return [f"not an error body: {body}"]
    # A code is the status with five digits behind, or a kind of 400 and 403 that Alpaca reuses.
    return [] if body["code"] // 100_000 in {status, 400, 403} else [f"code {body['code']}"]
