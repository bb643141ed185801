"""What a package draws with: the scheduler, steps and guidance of the model, or of the user."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from edgegen_runner.package import load_package
from edgegen_runner.schedulers import LACKED_BECAUSE, SHORT_NAMES, load_scheduler
from PIL import Image

from edgegen.cli.main import run as run_edgegen
from edgegen.core.errors import ConfigError
from edgegen.core.model import PipelineSpec
from edgegen.models.read import read_pipeline
from edgegen.models.scheduler import scheduler_config
from edgegen.models.source import resolve
from edgegen.packaging.drawing import drawn_with, write_scheduler
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.plan import plan_package
from edgegen.reference.case import plan_case
from edgegen.reference.pipeline import load_scheduler as reference_scheduler
from tests.conftest import TinyPipeline

# diffusers says so where it corrects an old configuration
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
Model = Callable[..., Path]


@pytest.fixture
def model(tiny_pipeline: TinyPipeline, tmp_path: Path) -> Model:
    """Return a function that copies a tiny pipeline with another scheduler."""

    def make(
        class_name: str,
        config: dict[str, Any] | None = None,
        *,
        family: str = "sd15",
        pipeline: str | None = None,
    ) -> Path:
        folder = tmp_path / f"model{len(list(tmp_path.iterdir()))}"
        shutil.copytree(tiny_pipeline(family), folder)
        written = {"_class_name": class_name, **BETAS, "steps_offset": 1, **(config or {})}
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(written))
        index = json.loads((folder / "model_index.json").read_text())
        index["scheduler"] = ["diffusers", class_name]
        index["_class_name"] = pipeline or index["_class_name"]
        (folder / "model_index.json").write_text(json.dumps(index))
        return folder

    return make


def read(folder: Path, **wishes: Any) -> PipelineSpec:
    return drawn_with(read_pipeline(resolve(str(folder))), folder, **wishes)


def drawing(spec: PipelineSpec) -> tuple[int, float, float | None]:
    generation = spec.generation
    return generation.steps, generation.guidance, generation.inpaint_guidance


def test_the_class_is_that_of_the_index_whatever_the_configuration_says(model: Model) -> None:
    folder = model("PNDMScheduler", {"_class_name": "DDIMScheduler", "clip_sample": False})
    spec = read(folder)
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder).scheduler
    assert spec.scheduler.class_name == type(theirs).__name__ == "PNDMScheduler"
    assert type(reference_scheduler(spec, folder)) is type(theirs)
    write_scheduler(spec, folder)
    assert scheduler_config(folder, spec.scheduler)["_class_name"] == "PNDMScheduler"
    written = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert written["_class_name"] == "PNDMScheduler"


def test_the_runner_takes_the_class_of_the_index_too(model: Model, tmp_path: Path) -> None:
    from tests.tiny_packages import torch_package

    for named in ("DDIMScheduler", None):
        folder = model("PNDMScheduler", {"_class_name": named, "skip_prk_steps": True})
        package = torch_package("sd15", folder, tmp_path / f"package-{named}")
        config = load_package(package).scheduler_config()
        assert load_scheduler(config).name == "PNDMScheduler"


@pytest.mark.parametrize(
    ("class_name", "config", "drawn"),
    [
        ("PNDMScheduler", {}, (50, 7.5, None)),
        ("LCMScheduler", {"original_inference_steps": 20}, (4, 1.0, None)),
        ("LCMScheduler", {"original_inference_steps": 2}, (2, 1.0, None)),
        ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, (4, 1.0, None)),
        ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, (4, 1.0, None)),
        ("EulerDiscreteScheduler", {"timestep_spacing": "leading"}, (50, 7.5, None)),
        (
            "EulerDiscreteScheduler",
            {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
            (50, 7.5, None),
        ),
    ],
)
def test_a_scheduler_of_few_steps_brings_its_defaults(
    class_name: str, config: dict[str, Any], drawn: tuple[Any, ...], model: Model
) -> None:
    folder = model(class_name, config)
    spec = read(folder)
    assert drawing(spec) == drawn
    assert plan_case(spec, folder, full=False).steps == min(drawn[0], 4)


def test_another_scheduler_brings_its_defaults_and_a_wish_goes_before_them(model: Model) -> None:
    folder = model("PNDMScheduler")
    assert drawing(read(folder, scheduler="lcm")) == (4, 1.0, None)
    assert drawing(read(folder, scheduler="lcm", steps=6, guidance=2.0)) == (6, 2.0, None)
    few = model("LCMScheduler")
    assert drawing(read(few, scheduler="ddim")) == (50, 7.5, None)
    case = plan_case(read(folder, scheduler="lcm", steps=6), folder, full=False)
    assert (case.steps, case.scheduler) == (6, "LCMScheduler")


@pytest.mark.parametrize(
    ("family", "drawn"),
    [
        ("sdxl", (50, 5.0, 7.5)),
        ("sdxl-inpaint", (50, 7.5, None)),
        ("sdxl-refiner", (50, 5.0, 7.5)),
        ("ddim", (50, 1.0, None)),
    ],
)
def test_defaults_are_those_of_the_classes_that_draw(
    family: str, drawn: tuple[Any, ...], tiny_pipeline: TinyPipeline
) -> None:
    assert drawing(read(tiny_pipeline(family))) == drawn


def test_a_wished_guidance_holds_behind_a_mask_too(tiny_pipeline: TinyPipeline) -> None:
    assert drawing(read(tiny_pipeline("sdxl"), guidance=3.0)) == (50, 3.0, None)
    with pytest.raises(ConfigError, match="without guidance"):
        read(tiny_pipeline("ddpm"), guidance=3.0)


def test_a_short_name_is_written_so_that_diffusers_draws_with_it(model: Model) -> None:
    folder = model("PNDMScheduler", {"_use_default_values": ["algorithm_type", "steps_offset"]})
    spec = read(folder, scheduler="dpmsolver++-sde-karras")
    class_name, implied = SHORT_NAMES["dpmsolver++-sde-karras"]
    write_scheduler(spec, folder)
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder).scheduler
    assert type(theirs).__name__ == class_name
    assert {name: theirs.config[name] for name in implied} == dict(implied)


@pytest.mark.parametrize(
    ("class_name", "wishes"),
    [
        ("PNDMScheduler", {"scheduler": "euler"}),
        ("DDIMScheduler", {}),
        ("DPMSolverMultistepScheduler", {}),
    ],
)
def test_options_that_the_model_leaves_out_are_written_as_they_are_drawn_with(
    class_name: str, wishes: dict[str, Any], model: Model
) -> None:
    folder = model(class_name, {"steps_offset": 0})
    lms = diffusers.LMSDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    spec = read(folder, **wishes)
    own = scheduler_config(folder, spec.scheduler)
    write_scheduler(spec, folder)
    written = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    theirs = type(reference_scheduler(spec, folder)).from_pretrained(folder, subfolder="scheduler")
    nothing: list[Any] = [None] * 4
    diffusers.StableDiffusionPipeline(*nothing, theirs, None, None, requires_safety_checker=False)
    drawn = {key: value for key, value in theirs.config.items() if not key.startswith("_")}
    assert {key: written.get(key) for key in drawn if key != "lambda_min_clipped"} == {
        key: value for key, value in drawn.items() if key != "lambda_min_clipped"
    }, "all but an infinity, which JSON lacks"
    assert written["timestep_spacing"] == ("leading" if class_name[:4] == "DDIM" else "linspace")
    assert scheduler_config(folder, spec.scheduler) == {**own, "steps_offset": 1}
    again = diffusers.LMSDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    assert {**again.config, "steps_offset": 0} == dict(lms.config), "another brings its defaults"


@pytest.mark.parametrize("class_name", ["RePaintScheduler", "FlowMatchHeunDiscreteScheduler"])
def test_a_scheduler_that_the_runner_lacks_is_told_first_with_the_reason(
    class_name: str, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = model(class_name)
    assert run_edgegen(["package", str(folder), "-t", "onnx", "--dry-run"]) == ConfigError.exit_code
    refused = capsys.readouterr().err
    assert class_name in refused
    assert "--scheduler" in refused
    assert LACKED_BECAUSE[class_name][:20] in refused
    assert run_edgegen(["inspect", str(folder)]) == 0
    assert class_name in capsys.readouterr().err
    read(folder, scheduler="dpmsolver++")


@pytest.mark.parametrize(
    ("class_name", "config", "wishes", "why"),
    [
        ("LCMScheduler", {"original_inference_steps": 20}, {"steps": 50}, "at most 20"),
        (
            "EulerDiscreteScheduler",
            {"use_beta_sigmas": True, "use_karras_sigmas": True},
            {},
            "use_beta_sigmas",
        ),
        ("PNDMScheduler", {}, {"scheduler": "flow-match-euler"}, "flow matching"),
        ("PNDMScheduler", {}, {"scheduler": "eulr"}, "Did you mean 'euler'"),
        ("DDPMScheduler", {"variance_type": "learned"}, {}, "twice the channels"),
        (
            "DDIMScheduler",
            {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
            {},
            "zero SNR",
        ),
    ],
)
def test_what_the_runner_would_refuse_is_refused_before_anything_is_built(
    class_name: str, config: dict[str, Any], wishes: dict[str, Any], why: str, model: Model
) -> None:
    with pytest.raises(ConfigError, match=why):
        read(model(class_name, config), **wishes)


def test_the_reference_integrates_lms_without_scipy(model: Model) -> None:
    folder = model("LMSDiscreteScheduler")
    theirs, ours = (
        reference_scheduler(read(folder), folder),
        load_scheduler(json.loads((folder / "scheduler" / "scheduler_config.json").read_text())),
    )
    import torch

    theirs.set_timesteps(6)
    ours.set_timesteps(6)
    sample = np.random.RandomState(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    yours = torch.from_numpy(sample)
    for mine, timestep in zip(ours.timesteps, theirs.timesteps, strict=True):
        theirs.scale_model_input(yours, timestep)
        yours = theirs.step(torch.sin(yours), timestep, yours).prev_sample
        sample = ours.step(np.sin(sample), mine, sample, np.zeros)
        np.testing.assert_allclose(sample, yours.numpy(), rtol=2e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("class_name", "config", "options"),
    [
        ("PNDMScheduler", {"_class_name": "DDIMScheduler", "skip_prk_steps": True}, ()),
        ("LCMScheduler", {"original_inference_steps": 20}, ()),
        ("LMSDiscreteScheduler", {}, ("--steps", "6")),
        ("IPNDMScheduler", {}, ("--scheduler", "dpmsolver++-karras", "--steps", "7")),
        ("IPNDMScheduler", {}, ("--steps", "5")),
        ("DPMSolverSDEScheduler", {"use_karras_sigmas": True}, ("--steps", "4")),
        ("HeunDiscreteScheduler", {"use_beta_sigmas": True}, ("--steps", "4")),
        ("KDPM2AncestralDiscreteScheduler", {}, ("--steps", "4")),
        ("DPMSolverSinglestepScheduler", {"solver_order": 3}, ("--steps", "7")),
    ],
)
def test_a_package_passes_and_draws_by_its_own_defaults_what_diffusers_draws_from_it(
    class_name: str, config: dict[str, Any], options: tuple[str, ...], model: Model, tmp_path: Path
) -> None:
    import torch

    from edgegen.reference.sde import seed_noise

    source, package, picture = model(class_name, config), tmp_path / "package", tmp_path / "it.png"
    build = ["package", str(source), "-t", "onnx", "-r", "fp32", "-o", str(package), *options]
    assert run_edgegen(build) == 0
    assert run_edgegen(["run", str(package), "--prompt", "cat", "-o", str(picture)]) == 0
    manifest = json.loads((package / "edgegen.json").read_text())
    generation, spec = manifest["generation"], read(source, **_wishes(options))
    scheduler = reference_scheduler(spec, package)
    # Without scipy diffusers has no name for LMS; the scheduler that is given takes its place.
    _name_scheduler(source, "DDIMScheduler")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(source, scheduler=scheduler)
    seed_noise(pipeline.scheduler, [0])
    drawn = pipeline(
        "cat",
        num_inference_steps=generation["steps"],
        guidance_scale=generation["guidance"],
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    pixels = np.asarray(Image.open(picture), dtype=np.float64)
    assert np.abs(pixels - np.asarray(drawn, dtype=np.float64)).max() <= 2


def _name_scheduler(folder: Path, class_name: str) -> None:
    path = folder / "model_index.json"
    index = json.loads(path.read_text()) | {"scheduler": ["diffusers", class_name]}
    path.write_text(json.dumps(index))


def _wishes(options: tuple[str, ...]) -> dict[str, Any]:
    named = dict(zip(options[::2], options[1::2], strict=True))
    return {"scheduler": named.get("--scheduler"), "steps": int(named.get("--steps", 0)) or None}


def test_a_tile_is_of_latents_and_none_is_the_picture(model: Model) -> None:
    folder = model("DDIMScheduler")
    scale = read(folder).generation.vae_scale_factor
    assert read(folder).generation.decode_tile is None
    assert read(folder, decode_tile=8 * scale).generation.decode_tile == 8
    for side in (8 * scale + 1, scale):
        with pytest.raises(ConfigError, match=f"multiples of {scale} pixels, of {4 * scale} at"):
            read(folder, decode_tile=side)


def test_what_decodes_nothing_has_no_tiles(tiny_pipeline: TinyPipeline) -> None:
    with pytest.raises(ConfigError, match="has no autoencoder"):
        read(tiny_pipeline("ddpm"), decode_tile=64)


def test_a_tile_as_large_as_the_picture_is_refused(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    facts = read_facts(resolve(str(tiny_pipeline("sd15"))), decode_tile=32)
    for width, height in ((32, 32), (16, 32)):
        with pytest.raises(ConfigError, match="--decode-tile is 32, and the picture has"):
            plan_package(
                *(facts,), target="tflite", destination=tmp_path / "p", width=width, height=height
            )
