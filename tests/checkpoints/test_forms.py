"""A checkpoint in one file has the same weights as the folder that it was written from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegen.core.reading import Reading
from edgegen.models.open_weights import open_weights
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.models.weights import Weights
from tests.checkpoints.original import write_original
from tests.conftest import TinyPipeline

FORMS = {
    "sd15": ("1", "stable-diffusion"),
    "sd21": ("2", "stable-diffusion"),
    "sd-inpaint": ("1", "stable-diffusion-inpaint"),
    "lcm": ("1", "latent-consistency"),
    "sdxl": ("xl", "stable-diffusion-xl"),
    "sdxl-inpaint": ("xl", "stable-diffusion-xl-inpaint"),
    "sdxl-refiner": ("refiner", "stable-diffusion-xl-refiner"),
}
"""Tiny pipeline -> how its file is named, and its family."""


@pytest.mark.parametrize("name", FORMS)
def test_a_file_has_the_weights_of_the_folder(
    name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    form, family = FORMS[name]
    folder = tiny_pipeline(name)
    file = write_original(folder, form, tmp_path / f"{name}.safetensors")

    found = resolve(str(file), reading=Reading(config=str(folder)))

    assert found.name == name
    spec = read_pipeline(found)
    assert spec.family == family
    assert spec.form is not None
    expected = read_pipeline(resolve(str(folder)))
    assert spec.components == expected.components
    for component in {it.folder for it in spec.components}:
        ours, theirs = open_weights(found.path / component), Weights.open(folder / component)
        kept = {key for key in theirs.entries if not key.endswith("position_ids")}
        assert len(ours.entries) == len(kept)
        for key in kept:
            array = theirs.array(key)
            assert np.array_equal(ours.array(key).reshape(array.shape), array), key
