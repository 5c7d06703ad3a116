"""docs/wire.md: every example is a message that this version reads, and that its schema takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from main.utils.redis.constants import SCHEMAS
from main.utils.redis.messages import decode_typed, encode

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text("utf-8")
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["type"])
def test_an_example_is_a_message(example: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMAS[example["type"]]).validate(example)
    message = decode_typed(json.dumps(example).encode())
    assert message is not None
    assert json.loads(encode(message)) == example, "a field is missing or unknown"


def test_there_is_one_of_each_kind() -> None:
    kinds = {example["type"] for example in EXAMPLES}
    assert kinds == set(SCHEMAS) - {"registration_request", "envelope"}
