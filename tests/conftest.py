"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tiny_models import build

TinyPipeline = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep logs, and the lock of this machine as a device, apart from the user's and each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield


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
