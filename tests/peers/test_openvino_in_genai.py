"""openvino_genai draws our image from our package, or the matrix says that it does not.

The built-in model in float32, its scheduler's config exchanged. openvino_genai rounds pixels down
where diffusers rounds to the nearest: half of the values differ by one, which is 52 dB.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgegen.cli.main import run as run_edgegen
from edgegen.core.process import ProcessError, run
from edgegen.exporters.targets import load_target
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.pipelines.source import resolve
from edgegen.quality.metrics import psnr_db
from edgegen.runner.png import read_pixels
from tests.kits.genai import genai_python

pytestmark = pytest.mark.peers

SAME_DB = 50.0
PROMPT, SEED, STEPS, GUIDANCE = "panda", 20, 25, 3.0
CELLS = {
    cell.scheduler: cell
    for cell in load_target("openvino").compatibility
    if cell.runtime == "openvino-genai"
}
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "euler": ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}),
    "lms": ("LMSDiscreteScheduler", {"timestep_spacing": "leading"}),
    "dpmsolver++": ("DPMSolverMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages") / "emoji"
    planned = plan(resolve("builtin:emoji"), target="openvino", destination=folder, recipe="fp32")
    build(planned, parity=False)
    return folder


def with_scheduler(package: Path, folder: Path, name: str) -> Path:
    class_name, settings = SCHEDULERS[name]
    shutil.copytree(package, folder)
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "_class_name": class_name, **settings}))
    path = folder / "model_index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "scheduler": ["diffusers", class_name]}))
    return folder


def draw_with_genai(folder: Path, place: Path) -> np.ndarray:
    latents, out = place / "latents.npy", place / "image.npy"
    noise = torch.randn((1, 8, 8, 8), generator=torch.Generator().manual_seed(SEED))
    np.save(latents, noise.numpy())
    program = str(Path(__file__).with_name("genai_side.py"))
    arguments = [str(folder), str(latents), str(out), PROMPT, str(STEPS), str(GUIDANCE)]
    run([str(genai_python()), program, *arguments], timeout_s=300)
    image: np.ndarray = np.load(out)
    return image


def test_every_scheduler_that_is_tried_has_its_cell() -> None:
    assert set(CELLS) == set(SCHEDULERS)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_cell_says_what_openvino_genai_does(name: str, package: Path, tmp_path: Path) -> None:
    folder = with_scheduler(package, tmp_path / "package", name)
    if CELLS[name].result == "cannot":
        with pytest.raises(ProcessError, match="Unsupported value for 'scheduler'"):
            draw_with_genai(folder, tmp_path)
        return
    theirs = draw_with_genai(folder, tmp_path)
    picture = tmp_path / "ours.png"
    options = ["--prompt", PROMPT, "--seed", str(SEED), "-o", str(picture)]
    assert run_edgegen(["run", str(folder), *options]) == 0
    distance_db = psnr_db(read_pixels(picture), theirs, peak=255.0)
    assert (distance_db >= SAME_DB) == (CELLS[name].result == "same-image"), distance_db
