"""Options of a scheduler, as a package's default: what is kept, what is refused, what is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.metrics import psnr_db

from edgegen.core.errors import ConfigError
from edgegen.drawer import DrawRequest
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.drawing import parse_scheduler_options
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.plan import plan_package
from edgegen.reference.drawer import TorchDrawer
from edgegen.runner.drawers import PackageDrawer
from tests.conftest import TinyPipeline

# diffusers says so where it corrects an old configuration
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def test_values_are_read_as_what_they_look_like() -> None:
    texts = ["a=trailing", "b = true", "c=False", "d=3", "e=0.5", "f=1e3", "g=nan", "h=a=b"]
    assert parse_scheduler_options(texts) == {
        "a": "trailing",
        "b": True,
        "c": False,
        "d": 3,
        "e": 0.5,
        "f": 1000.0,
        "g": "nan",
        "h": "a=b",
    }


@pytest.mark.parametrize("texts", [["a"], ["=b"], ["a="], ["a=1", "a=2"]])
def test_what_is_no_option_is_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match="--scheduler-option"):
        parse_scheduler_options(texts)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"timestep_spacings": "trailing"}, "has no option 'timestep_spacings'"),
        ({"timestep_spacing": "trailling"}, "does not support timestep_spacing='trailling'"),
        ({"beta_start": "small"}, "does not support beta_start='small'"),
    ],
)
def test_an_option_that_the_scheduler_lacks_is_refused(
    options: dict[str, bool | int | float | str], why: str, tiny_pipeline: TinyPipeline
) -> None:
    model = resolve(str(tiny_pipeline("sd15")))
    with pytest.raises(ConfigError, match=why):
        read_facts(model, scheduler="ddim", scheduler_options=options)


def test_an_option_limits_the_steps(tiny_pipeline: TinyPipeline) -> None:
    model, options = resolve(str(tiny_pipeline("sd15"))), {"original_inference_steps": 2}
    facts = read_facts(model, scheduler="lcm", scheduler_options=options)
    assert facts.spec.scheduler.options == options
    assert facts.spec.generation.steps == 2, "as many as the model was distilled with"
    with pytest.raises(ConfigError, match="steps"):
        read_facts(model, scheduler="lcm", scheduler_options=options, steps=4)


def test_an_option_brings_the_defaults_of_few_step_models(tiny_pipeline: TinyPipeline) -> None:
    model = resolve(str(tiny_pipeline("sdxl")))
    assert read_facts(model, scheduler="euler").spec.generation.steps == 50
    trailing = {"timestep_spacing": "trailing"}
    drawn = read_facts(model, scheduler="euler", scheduler_options=trailing).spec.generation
    assert (drawn.steps, drawn.guidance) == (4, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheduler", "option", "steps", "guidance"),
    [
        ("ddim", ("timestep_spacing", "trailing"), 4, 0.0),  # Hyper-SD
        ("euler", ("timestep_spacing", "trailing"), 4, 0.0),  # Lightning
        ("lcm", ("original_inference_steps", 40), 4, 0.0),  # LCM-LoRA
    ],
)
def test_a_package_draws_by_its_options_as_diffusers_does(
    scheduler: str,
    option: tuple[str, bool | int | float | str],
    steps: int,
    guidance: float,
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
) -> None:
    import diffusers

    model = tiny_pipeline("sd15")
    facts = read_facts(
        resolve(str(model)),
        scheduler=scheduler,
        scheduler_options=dict([option]),
        steps=steps,
        guidance=guidance,
    )
    made = build(plan_package(facts, target="onnx", recipe="fp32", destination=tmp_path / "p"))
    assert made.manifest.golden is not None
    assert (made.manifest.golden.steps, made.manifest.golden.guidance) == (steps, guidance)
    assert all(check.passed for check in made.evidence.parity)
    kept = json.loads((tmp_path / "p" / "scheduler" / "scheduler_config.json").read_text())
    assert kept[option[0]] == option[1]

    scheduler_class = getattr(diffusers, facts.spec.scheduler.class_name)
    other = scheduler_class.from_pretrained(str(model), subfolder="scheduler", **dict([option]))
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        str(model), scheduler=other, safety_checker=None
    )
    request = DrawRequest(prompt="a cat", seed=5)
    (expected,) = TorchDrawer(pipeline, facts.spec.family, facts.spec.generation).draw([request])
    (drawn,) = PackageDrawer(tmp_path / "p").draw([request])
    reached = psnr_db(np.asarray(expected), np.asarray(drawn), peak=255.0)
    assert reached is None or reached >= 60.0
