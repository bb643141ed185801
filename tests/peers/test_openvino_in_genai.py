"""openvino_genai draws our image from our package, or the matrix says that it does not.

The built-in model in float32, its scheduler's config exchanged, and a tiny SDXL. openvino_genai
rounds pixels down where diffusers rounds to the nearest: half of the values differ by one, which is
52 dB.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgegen_runner.metrics import psnr_db

from edgegen.cli.main import run as run_edgegen
from edgegen.core.files import sha256_of
from edgegen.core.package import MANIFEST_NAME
from edgegen.core.process import ProcessError, run
from edgegen.core.targets import load_target
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.runner.png import read_pixels
from tests.conftest import TinyPipeline
from tests.kits.genai import genai_python

pytestmark = pytest.mark.peers

SAME_DB = 50.0
PROMPT, SEED, STEPS, GUIDANCE = "panda", 20, 25, 3.0
GENAI = [cell for cell in load_target("openvino").compatibility if cell.runtime == "openvino-genai"]
CELLS = {cell.scheduler: cell for cell in GENAI if cell.family == "stable-diffusion"}
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
    list_again(folder, "scheduler/scheduler_config.json", "model_index.json")
    return folder


def list_again(folder: Path, *names: str) -> None:
    """Let the manifest list files as they are now: `run` draws from no other."""
    path = folder / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    for listed in manifest["files"]:
        if listed["path"] in names:
            file = folder / listed["path"]
            listed |= {"sha256": sha256_of(file), "size_bytes": file.stat().st_size}
    path.write_text(json.dumps(manifest))


def draw_with_genai(
    folder: Path, place: Path, shape: tuple[int, ...] = (1, 8, 8, 8), scale: int = 8
) -> np.ndarray:
    latents, out = place / "latents.npy", place / "image.npy"
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))
    np.save(latents, noise.numpy())
    program = str(Path(__file__).with_name("genai_side.py"))
    arguments = [str(folder), str(latents), str(out), PROMPT, str(STEPS), str(GUIDANCE)]
    run([str(genai_python()), program, *arguments, str(scale)], timeout_s=300)
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
    distance_db = psnr_db(draw(folder, tmp_path), draw_with_genai(folder, tmp_path), peak=255.0)
    assert (distance_db >= SAME_DB) == (CELLS[name].result == "same-image"), distance_db


def test_openvino_genai_takes_no_default_of_its_own(tmp_path: Path) -> None:
    """What the model leaves out, GenAI refuses, or begins at another timestep."""
    source = Path(shutil.copytree(resolve("builtin:emoji").path, tmp_path / "model"))
    path = source / "scheduler" / "scheduler_config.json"
    said = json.loads(path.read_text())
    betas = {key: said[key] for key in ("beta_start", "beta_end", "beta_schedule")}
    path.write_text(json.dumps({"_class_name": "DDIMScheduler", **betas}))
    folder = tmp_path / "package"
    build(plan(resolve(str(source)), target="openvino", destination=folder, recipe="fp32"))
    theirs = draw_with_genai(folder, tmp_path)
    assert psnr_db(draw(folder, tmp_path), theirs, peak=255.0) >= SAME_DB


def draw(folder: Path, place: Path) -> np.ndarray:
    picture = place / "ours.png"
    options = ["--prompt", PROMPT, "--seed", str(SEED), "-o", str(picture)]
    numbers = ["--steps", str(STEPS), "--guidance", str(GUIDANCE)]
    assert run_edgegen(["run", str(folder), *options, *numbers]) == 0
    return read_pixels(picture)


def test_sdxl_in_openvino_genai_takes_the_states_that_the_runner_takes(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """It counts the outputs from the first; optimum counts the states from the last."""
    (cell,) = [cell for cell in GENAI if cell.family == "stable-diffusion-xl"]
    assert (cell.scheduler, cell.result) == ("euler", "same-image")
    folder = tmp_path / "package"
    source = resolve(str(tiny_pipeline("sdxl")))
    build(plan(source, target="openvino", destination=folder, recipe="fp32"), parity=False)
    theirs = draw_with_genai(folder, tmp_path, shape=(1, 4, 16, 16), scale=2)
    assert psnr_db(draw(folder, tmp_path), theirs, peak=255.0) >= SAME_DB


def test_a_tokenizer_with_added_tokens_is_refused_by_openvino_genai(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """Its converter spells what follows such a token wrongly, so no graph of it is written."""
    source = Path(shutil.copytree(tiny_pipeline("sd15"), tmp_path / "model"))
    vocabulary = json.loads((source / "tokenizer" / "vocab.json").read_text())
    added = {"<toy>": max(vocabulary.values()) + 1}
    (source / "tokenizer" / "added_tokens.json").write_text(json.dumps(added))
    folder = tmp_path / "package"
    planned = plan(resolve(str(source)), target="openvino", destination=folder, recipe="fp32")
    assert "openvino_genai does not" in planned.warnings[0]
    build(planned, parity=False)
    assert not list((folder / "tokenizer").glob("openvino_tokenizer.*"))
    with pytest.raises(ProcessError, match="tokenizer"):
        draw_with_genai(folder, tmp_path, shape=(1, 4, 8, 8), scale=2)
