"""The runner's PixArt against diffusers' own pipelines, with the same networks behind both.

What differs is all the runner's: tokens, masks, draws, schedulers, guidance, the dropped variance.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.package import Component, load_package
from edgegen_runner.pipelines import open_pipeline
from edgegen_runner.request import Request
from edgegen_runner.residency import Components

from edgegen.core.codec import encode
from edgegen.core.model import PipelineSpec
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.networks import part_of
from tests.conftest import TinyPipeline
from tests.tiny_models import build, write_json
from tests.tiny_packages import manifest

PROMPT = "  A Cat and the DOG, singing  "
TOLERANCE = 1e-4
PLAIN: Mapping[str, Any] = {"clean_caption": False, "use_resolution_binning": False}


@dataclass(frozen=True)
class Case:
    name: str
    family: str
    request: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] | None = None
    scheduler: str | None = None


CASES = [
    Case("alpha", "pixart"),
    Case("sigma", "pixart-sigma"),
    Case(
        "alpha with a negative prompt, wide",
        "pixart",
        {"negative_prompt": " The ER", "guidance": 3.0, "width": 48, "height": 32},
        {"negative_prompt": " The ER", "guidance_scale": 3.0, "width": 48, "height": 32},
    ),
    Case("sigma without guidance", "pixart-sigma", {"guidance": 1.0}, {"guidance_scale": 1.0}),
    Case(
        "alpha that takes the resolution",
        "pixart",
        {"width": 32, "height": 48},
        {"width": 32, "height": 48},
        {"sample_size": 128, "use_additional_conditions": None},
    ),
    Case("sigma with euler", "pixart-sigma", {"scheduler": "euler"}, {}, None, "EulerDiscrete"),
    Case("alpha, one sample a call", "pixart", {"guidance_batch": 1}),
]


class TorchSession:
    providers = ("torch",)
    arithmetic = "float32"

    def __init__(self, spec: PipelineSpec, pipeline: Any, component: Component) -> None:
        self.known = next(it for it in spec.components if it.name == component.name)
        self.network = getattr(pipeline, self.known.folder)

    def run(
        self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None
    ) -> dict[str, Any]:
        given = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
        assert [*sorted(given)] == sorted(tensor.name for tensor in self.known.inputs)
        with torch.no_grad():
            values = part_of(self.known).forward(self.network, given)
        return {name: values[name].numpy() for name in outputs or values}

    def close(self) -> None:
        pass


@dataclass
class TorchBackend:
    spec: PipelineSpec
    pipeline: Any
    name = "torch"
    version = "0"
    available_providers = ("torch",)
    arithmetic_gaps: Mapping[str, str] = field(default_factory=dict)

    def load(self, path: Path, component: Component) -> TorchSession:
        return TorchSession(self.spec, self.pipeline, component)


def torch_package(source: Path, folder: Path) -> PipelineSpec:
    """Copy a pipeline's configs, and write a manifest whose components torch computes."""
    spec = read_pipeline(resolve(str(source)))
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    components = [
        {"spec": encode(component), "path": "model_index.json", "storage_bytes": 0}
        for component in spec.components
    ]
    value = manifest(
        family=spec.family,
        pipeline_class=spec.pipeline_class,
        generation=encode(spec.generation),
        components=components,
    )
    write_json(folder / "edgegen.json", value)
    return spec


def loaded(source: Path, scheduler: str | None = None) -> Any:
    import diffusers

    pipeline = diffusers.DiffusionPipeline.from_pretrained(source)
    pipeline.set_progress_bar_config(disable=True)
    if scheduler is not None:
        build_scheduler = getattr(diffusers, f"{scheduler}Scheduler")
        pipeline.scheduler = build_scheduler.from_config(dict(pipeline.scheduler.config))
    return pipeline


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pipeline_draws_what_diffusers_draws(
    case: Case, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    source = tiny_pipeline(case.family)
    if case.changes is not None:
        source = build(case.family, tmp_path / "changed", changes={"unet": case.changes})
    spec = torch_package(source, tmp_path / "package")
    theirs = loaded(source, case.scheduler)
    expected = theirs(
        PROMPT,
        generator=torch.Generator("cpu").manual_seed(11),
        output_type="np",
        num_inference_steps=4,
        **PLAIN,
        **case.arguments,
    ).images[0]

    package = load_package(tmp_path / "package")
    backend = TorchBackend(spec, theirs)
    components = Components(package, backend, "sequential", lambda *_, **__: None)
    pipeline = open_pipeline(components, Request(steps=4, **case.request))
    conditioning = pipeline.encode(PROMPT)
    *_, last = pipeline.denoise(conditioning, pipeline.prepare(11))
    image = pipeline.decode(last.latents)[0].transpose(1, 2, 0)

    assert expected.std() > 0.01
    assert image.shape == expected.shape
    assert np.abs(np.clip(image / 2 + 0.5, 0, 1) - expected).max() < TOLERANCE


def test_the_prompt_matters_and_what_was_cut_of_it_is_named(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    source = tiny_pipeline("pixart")
    spec = torch_package(source, tmp_path / "package")
    package = load_package(tmp_path / "package")
    backend = TorchBackend(spec, loaded(source))
    components = Components(package, backend, "sequential", lambda *_, **__: None)
    pipeline = open_pipeline(components, Request(guidance=1.0))
    long = pipeline.encode("a cat " * 200)
    short = pipeline.encode("a dog")
    mask = short.positive["encoder_attention_mask"]
    assert mask.shape == (1, 120)
    assert 0 < mask.sum() < 10
    assert long.positive["encoder_attention_mask"].all()
    assert "a cat a cat" in long.cut[0]
    assert not np.array_equal(
        long.positive["encoder_hidden_states"], short.positive["encoder_hidden_states"]
    )


def test_a_picture_to_begin_with_is_refused(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    source = tiny_pipeline("pixart")
    spec = torch_package(source, tmp_path / "package")
    package = load_package(tmp_path / "package")
    backend = TorchBackend(spec, None)
    components = Components(package, backend, "sequential", lambda *_, **__: None)
    with pytest.raises(RunnerFailure) as caught:
        open_pipeline(components, Request(image=tmp_path / "picture.png"))
    assert caught.value.kind == "bad-request"
