"""A tiny model, and packages of it that are built once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from tests.conftest import TinyPipeline

BuildTiny = Callable[..., Path]


@pytest.fixture(scope="session")
def model(tiny_pipeline: TinyPipeline) -> ModelFolder:
    return resolve(str(tiny_pipeline("sd15")))


@pytest.fixture(scope="session")
def package(tiny_onnx_package: Path) -> Path:
    """Return an ONNX package in float32, with its golden case. Copy it before changing it."""
    return tiny_onnx_package
