"""A pipeline class that nobody knows: what its components would draw with is named, and taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import SourceError
from edgegen.core.reading import Reading
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from tests.tiny_models import write_json


@pytest.fixture
def copied(tiny_pipeline: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a tiny pipeline to where a test may change it."""
    return lambda family: Path(shutil.copytree(tiny_pipeline(family), tmp_path / "model"))


def renamed(folder: Path, class_name: Any, **changes: Any) -> None:
    path = folder / "model_index.json"
    write_json(path, {**json.loads(path.read_text()), "_class_name": class_name, **changes})


def hint_of(folder: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_pipeline(resolve(str(folder)))
    return caught.value.hint or ""


@pytest.mark.parametrize(
    ("family", "fitting"),
    [
        ("sd15", "StableDiffusionPipeline"),
        ("sd-edit", "StableDiffusionInstructPix2PixPipeline"),
        ("sd-upscale", "StableDiffusionUpscalePipeline"),
        ("sd-depth", "StableDiffusionDepth2ImgPipeline"),
        ("sdxl", "StableDiffusionXLPipeline"),
        ("sdxl-refiner", "StableDiffusionXLPipeline"),
        ("pixart", "PixArtAlphaPipeline"),
        ("ddpm", "DDPMPipeline"),
    ],
)
@pytest.mark.parametrize("class_name", ["TheirOwnPipeline", ["their_module", "TheirOwnPipeline"]])
def test_the_hint_names_what_draws_with_the_components_and_that_reads_them(
    family: str, fitting: str, class_name: Any, copied: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    folder = copied(family)
    own = read_pipeline(resolve(str(folder)))
    renamed(folder, class_name)

    assert f"add --as {fitting}" in hint_of(folder)

    spec = read_pipeline(resolve(str(folder), reading=Reading(pipeline=fitting)))
    assert spec.pipeline_class == fitting
    assert spec.family == own.family


def test_no_other_pipeline_is_named_for_a_denoiser_that_sees_a_picture(copied: Any) -> None:
    folder = copied("sd-edit")
    renamed(folder, "TheirOwnPipeline")
    assert "so do" not in hint_of(folder)


def test_components_that_no_pipeline_takes_are_said(copied: Any) -> None:
    folder = copied("sd15")
    renamed(folder, "TheirOwnPipeline", vae=[None, None])
    hint = hint_of(folder)
    assert "None of those draws" in hint
    assert "--as" not in hint
