"""The golden case is what diffusers itself computes, made in a process of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgegen.core.errors import SourceError
from edgegen.core.model import PipelineSpec
from edgegen.models.pipeline_source import FolderSource, folder_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.reference import child, golden
from edgegen.reference.case import SEED, plan_case
from edgegen.reference.child import GoldenJobs
from edgegen.reference.pipeline import load_reference
from edgegen.reference.run import make_golden
from edgegen.reference.trajectory import case_arguments, run_case
from tests.conftest import TinyPipeline
from tests.tiny_models import FAMILIES, absent

# torch 2.13's Tensor.__array__ under numpy 2.4; diffusers' Euler scheduler goes through it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def in_this_process(_module: str, job: GoldenJobs, **_rest: object) -> NoReturn:
    """Do what the reference's process does, where it ends with an error, which it hands over."""
    child.run(job, lambda _event, **_fields: None)
    raise AssertionError("the case was made")


def spec_of(folder: Path) -> PipelineSpec:
    return read_pipeline(resolve(str(folder)))


def edited(
    folder: Path, destination: Path, name: str, change: Callable[[dict[str, Any]], None]
) -> Path:
    """Return a copy of a pipeline in which one JSON file was changed."""
    shutil.copytree(folder, destination)
    data = json.loads((destination / name).read_text())
    change(data)
    (destination / name).write_text(json.dumps(data))
    return destination


def run_size(spec: PipelineSpec, folder: Path, *, full: bool) -> tuple[int, int]:
    case = plan_case(spec, folder, full=full)
    return case.height, case.width


@pytest.mark.filterwarnings("ignore:The decode_latents method is deprecated:FutureWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_image_is_the_one_that_diffusers_makes_of_the_loaded_pipeline(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    import diffusers

    folder = tiny_pipeline(family)
    spec = spec_of(folder)
    case = plan_case(spec, folder, full=False)
    seen: list[int] = []
    reference = load_reference(spec, FolderSource(folder))
    with torch.inference_mode(), reference.weights:
        run_case(reference, spec, case, tmp_path, seen.append)
    build = getattr(diffusers, type(reference.pipeline).__name__)
    whole = build.from_pretrained(folder, **absent(family))
    whole.set_progress_bar_config(disable=True)
    for module in whole.components.values():
        for parameter in module.parameters() if isinstance(module, torch.nn.Module) else ():
            parameter.data = parameter.data.clone()  # out of the mapped file, into aligned memory
    expected = whole(**case_arguments(spec, case, tmp_path)).images.transpose(0, 3, 1, 2) * 2 - 1
    image = golden.read_array(tmp_path, golden.IMAGE_NAME)
    assert image.shape[2:] == (case.height, case.width)
    assert np.array_equal(image, expected)
    assert seen == [*range(1, golden.count_trajectory(tmp_path) + 1)]


def test_the_first_latents_are_those_that_the_seed_draws(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """The pipeline is given no latents: its own first draw has to be what latents.npy holds."""
    folder = tiny_pipeline("ddim")
    spec = spec_of(folder)
    case = plan_case(spec, folder, full=False)
    reference = load_reference(spec, FolderSource(folder))
    first: list[torch.Tensor] = []
    module = reference.modules["unet"]
    module.register_forward_pre_hook(lambda _, args: first.append(args[0]))
    with torch.inference_mode(), reference.weights:
        run_case(reference, spec, case, tmp_path, lambda _: None)
    assert case.seed == SEED
    assert np.array_equal(golden.read_array(tmp_path, golden.LATENTS_NAME), first[0].numpy())


def test_a_case_is_made_in_a_process_of_its_own(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15", dtype="float16")
    spec = spec_of(folder)
    run = make_golden(spec, folder_source(folder), tmp_path / "golden", log=tmp_path / "log")
    written = {path.name for path in (tmp_path / "golden").iterdir()}
    expected = {"image.npy", "latents.npy", *(f"trajectory.{i}.npy" for i in range(5))}
    for component in spec.components:
        expected |= {golden.input_name(component.name, it.name) for it in component.inputs}
        expected |= {golden.output_name(component.name, it.name) for it in component.outputs}
    assert written == expected
    assert run.case == plan_case(spec, folder, full=False)
    assert run.cost.cpu_s > 0.5  # the child's, too
    assert run.cost.peak_memory_bytes is None or run.cost.peak_memory_bytes > 100 << 20
    assert 0 < run.peak_weight_bytes < 1 << 20
    for component in spec.components:
        probe = golden.read_probe(tmp_path / "golden", component)
        for name, value in probe.outputs.items():
            assert np.isfinite(value).all()
            assert not np.array_equal(value[0], value[1]), (component.name, name)


@pytest.mark.slow
def test_a_decoder_is_probed_with_latents_as_wide_as_the_denoiser_leaves_them(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """Those of a random model grow far beyond 1: ranges that were calibrated on them are as wide.

    Normal numbers would then be a few of the numbers that 8 bits have.
    """
    folder = tiny_pipeline("lcm")
    spec = spec_of(folder)
    run = make_golden(spec, folder_source(folder), tmp_path / "golden")
    decoder = next(it for it in spec.components if it.role == "decoder")
    probe = golden.read_probe(tmp_path / "golden", decoder)
    last = golden.trajectory_name(run.case.steps - 1)
    left = golden.read_array(tmp_path / "golden", last).std()
    (given,) = probe.inputs.values()
    assert left > 5
    assert given.std() * spec.generation.scaling_factor == pytest.approx(left, rel=0.15)


def test_a_model_that_computes_nan_is_refused(
    tiny_pipeline: TinyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegen.reference.run.call", in_this_process)
    folder = tmp_path / "model"
    shutil.copytree(tiny_pipeline("ddpm"), folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    largest = tensors["conv_out.weight"].abs().max()
    tensors["conv_out.weight"] = tensors["conv_out.weight"] / largest * 3e38
    save_file(tensors, weights)
    with pytest.raises(
        SourceError, match=r"unet computes values for .out_sample. that are not finite"
    ):
        make_golden(spec_of(folder), folder_source(folder), tmp_path / "golden")


def test_a_large_model_is_run_small_unless_all_of_it_is_asked_for(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    def enlarge(config: dict[str, Any]) -> None:
        config["sample_size"] = 256

    folder = edited(tiny_pipeline("sd15"), tmp_path / "large", "unet/config.json", enlarge)
    spec = spec_of(folder)
    assert (spec.generation.height, spec.generation.width) == (512, 512)
    height, width = run_size(spec, folder, full=False)
    assert (height, width) == (8, 16)  # two levels, two pixels a latent
    assert run_size(spec, folder, full=True) == (512, 512)


def test_a_small_model_is_run_at_its_own_size(tiny_pipeline: TinyPipeline) -> None:
    folder = tiny_pipeline("sd15")
    assert run_size(spec_of(folder), folder, full=False) == (32, 32)
