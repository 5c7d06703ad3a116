"""Hypothesis for the broker's pure parts: no deadline, because a busy machine is no defect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("broker", deadline=None, max_examples=60)


@pytest.fixture(autouse=True, scope="package")
def patient_hypothesis() -> Iterator[None]:
    """Only here: other packages keep what they chose."""
    before = settings.get_current_profile_name()
    settings.load_profile("broker")
    yield
    settings.load_profile(before)
