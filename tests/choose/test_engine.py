"""Engines are found by their name."""

from __future__ import annotations

import pytest

from edgegen.choose.cache import Cache
from edgegen.choose.engine import ENGINES, open_engine
from edgegen.core.errors import ConfigError
from edgegen.core.progress import SilentProgress


def test_an_engine_that_is_not_there_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        open_engine("locl", Cache(), SilentProgress())
    assert "local" in caught.value.hint


def test_this_machine_has_no_address() -> None:
    with pytest.raises(ConfigError, match="--address"):
        open_engine("local", Cache(), SilentProgress(), address="10.0.0.1")


def test_the_table_names_modules_that_are_there() -> None:
    import importlib

    for place in ENGINES.values():
        module, _, name = place.partition(":")
        assert hasattr(importlib.import_module(module), name)
