"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_models import build

TinyPipeline = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> TinyPipeline:
    """Return a function that builds a tiny pipeline once a session: `tiny_pipeline("sd15")`.

    The folder is shared by all tests: copy it before changing it.
    """
    root = tmp_path_factory.mktemp("tiny")
    built: dict[tuple[str, str, int], Path] = {}

    def get(family: str, *, dtype: str = "float32", seed: int = 0) -> Path:
        key = (family, dtype, seed)
        if key not in built:
            folder = root / f"{family}-{dtype}-{seed}"
            built[key] = build(family, folder, dtype=dtype, seed=seed)
        return built[key]

    return get
