"""Fixtures of the exporters' tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _captures_once(captures_once: None) -> None:
    """Let all tests of an exporter share what was traced."""
