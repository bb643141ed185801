"""Pipelines as people save, patch and copy them make the images that diffusers makes of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.runner.test_run_matches_diffusers import (
    LOWEST_PSNR_DB,
    Drawing,
    _drawn,
    _expected,
    _package,
    _psnr_db,
)

PROMPT = "a <toy> cat and the dog"


@dataclass(frozen=True)
class Situation:
    """What somebody did to a pipeline; `as_it_was`: diffusers draws from what it was before."""

    family: str
    change: Callable[[Path], None]
    as_it_was: bool = False
    pipeline: str = "StableDiffusionPipeline"


def a_concept_of_three_vectors(folder: Path) -> None:
    import diffusers
    import torch

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    width = pipeline.text_encoder.config.hidden_size
    learned = torch.randn(3, width, generator=torch.Generator().manual_seed(5))
    pipeline.load_textual_inversion({"<toy>": learned}, token="<toy>")
    pipeline.save_pretrained(folder)


SITUATIONS = {
    "textual inversion of three vectors": Situation("sd21", a_concept_of_three_vectors),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_package_makes_the_image_of_diffusers(
    name: str, tiny_pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("EDGEGEN_CACHE_DIR", "EDGEGEN_STATE_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    situation = SITUATIONS[name]
    original = tiny_pipeline(situation.family)
    changed = Path(shutil.copytree(original, tmp_path / "model"))
    situation.change(changed)
    drawing = Drawing(situation.pipeline, {"prompt": PROMPT, "num_inference_steps": 5}, {})
    package = _package(changed, tmp_path / "package")

    expected = _expected(original if situation.as_it_was else changed, drawing, tmp_path)
    pixels = _drawn(package, drawing, tmp_path)

    assert expected.std() > 1
    assert _psnr_db(expected, pixels) >= LOWEST_PSNR_DB
