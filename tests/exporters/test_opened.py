"""What every exporter begins with: weights are opened, and what is left out is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from edgegen.core.recipe import Recipe
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.exporters.base import ExportJob
from edgegen.exporters.opened import open_component
from edgegen.models.model_folder import ModelFolder
from edgegen.models.pipeline_source import folder_source
from edgegen.models.read import read_pipeline
from edgegen.packaging.axes import fix_axes
from tests.exporters.harness import Heard


@pytest.fixture
def model(tiny_pipeline, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_pipeline("sd15"), tmp_path / "model"))


def recipe() -> Recipe:
    return load_recipe("fp32", load_target("onnx"))


def test_keys_that_no_parameter_has_are_left_out_and_named(model, tmp_path):
    import numpy as np

    path = model / "text_encoder/model.safetensors"
    more = {name: np.zeros(1, np.float32) for name in ("ema.decay", "another", "logit_scale")}
    save_file(load_file(path) | more, path)
    spec = read_pipeline(ModelFolder(path=model, source=str(model)))
    heard = Heard()

    opened = open_component(
        ExportJob(
            target="onnx",
            component=fix_axes(spec.components[0], spec, "dynamic"),
            source=folder_source(model),
            destination=str(tmp_path),
            recipe=recipe(),
            shapes="dynamic",
        ),
        heard,
    )

    assert "ema.decay" not in opened.bound
    (warning,) = heard.warnings
    assert "text_encoder: the weights have keys" in warning
    assert "and 1 more" in warning  # a logit_scale is known to be CLIP's
