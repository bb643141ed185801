"""A tiny model, and packages of it that are built once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from tests.conftest import TinyPipeline

BuildTiny = Callable[..., Path]


@pytest.fixture(scope="session")
def model(tiny_pipeline: TinyPipeline) -> ModelFolder:
    return resolve(str(tiny_pipeline("sd15")))


@pytest.fixture(scope="session")
def package(model: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ONNX package in float32, with its golden case. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("evaluate") / "package"
    return build(plan(model, target="onnx", recipe="fp32", destination=folder)).path
