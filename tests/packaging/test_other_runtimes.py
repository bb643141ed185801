"""What a package's other runtimes would lose of a model is said before it is built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgegen.models.source import resolve
from edgegen.packaging.plan import plan


@pytest.fixture
def model(tiny_pipeline, tmp_path) -> Path:
    folder = Path(shutil.copytree(tiny_pipeline("sdxl"), tmp_path / "model"))
    added = {f"<toy>{n}": 600 + n for n in range(5)}
    (folder / "tokenizer_2/added_tokens.json").write_text(json.dumps(added))
    config = json.loads((folder / "vae/config.json").read_text())
    config |= {"latents_mean": [0, 0, 0, 1], "latents_std": [1, 1, 1, 1]}
    (folder / "vae/config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("target", "other"), [("openvino", "openvino_genai"), ("coreml", "Apple's Swift package")]
)
def test_added_tokens_and_means_of_latents_are_named(target, other, model, tmp_path):
    tokens, latents = plan(
        resolve(str(model)), target=target, destination=tmp_path / "package"
    ).warnings

    assert "<toy>0, <toy>1, <toy>2 and 2 more" in tokens
    assert "latents_mean" in latents
    assert all(other in warning for warning in (tokens, latents))


def test_nothing_is_said_of_a_target_that_only_the_runner_and_optimum_draw_from(model, tmp_path):
    planned = plan(resolve(str(model)), target="onnx", destination=tmp_path / "package")

    assert planned.warnings == ()


def test_the_kotlin_kit_knows_added_tokens_but_no_means_of_latents(model, tmp_path):
    planned = plan(resolve(str(model)), target="tflite", destination=tmp_path / "package")

    (latents,) = planned.warnings
    assert "latents_mean" in latents
