"""The proof, a selection of it: the whole one is `make scale-proof` (proof_long.py)."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.integration.scale_t.proof_stage import Stage, price_path, proof_stage

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_minute_of_a_scripted_path_ends_to_the_share_and_to_the_cent(tmp_path: Path) -> None:
    """Local Alpaca, broker, Valkey and scale_t as processes, killed three times on the way."""
    moments, draw = {15, 31, 47}, random.Random(1)
    with proof_stage(tmp_path) as stage:
        stage.start_scale_t()
        for second, price in enumerate(price_path(60)):
            if second in moments:
                move_and_kill(stage, draw, second)
            stage.step(price)
        _, fills = stage.check_books()
        assert fills > 10
        assert stage.cash() == stage.model.cash


def move_and_kill(stage: Stage, draw: random.Random, second: int) -> None:
    """The price moves, and scale_t dies somewhere in the middle of what follows."""
    price = price_path(second + 1)[-1]
    stage.model.step(price)
    stage.quote(price)
    time.sleep(draw.random() * 0.1)  # a random moment is the point here
    stage.kill("scale_t")
    stage.start_scale_t()
    stage.settle(f"after a kill at {price}")
