"""Exports one component of a tiny pipeline, and compares what it computes with torch."""

from __future__ import annotations

import importlib
import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from edgegen.core.model import Component, PipelineSpec
from edgegen.core.profile import Shapes
from edgegen.core.recipe import Recipe, Tolerance
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.exporters.base import ExportJob, ExportResult, load_exporter
from edgegen.exporters.calls import Conv2d
from edgegen.exporters.capture import Capture, capture
from edgegen.exporters.opened import open_component
from edgegen.exporters.wrappers import Wrapper
from edgegen.models.binding import bind
from edgegen.models.pipeline_source import folder_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.models.weights import Weights
from edgegen.networks import network_of
from edgegen.packaging.axes import fix_axes, timestep_for_each, used_outputs
from edgegen.reference.modules import build_module

TinyPipeline = Callable[..., Path]
LARGE_WEIGHT = "mid_block.resnets.0.conv1.weight"
TOLERANCE = Tolerance(component_psnr_db=0, trajectory_psnr_db=0, image_psnr_db=0)

QUICK_FAMILIES = ("sdxl", "ddpm")
FAMILIES = (
    *QUICK_FAMILIES,
    *("sd15", "sd21", "sdxl-refiner", "sdxl-inpaint", "lcm", "sd-inpaint", "ddim"),
)
"""Tiny pipelines whose denoisers differ."""
SOME_FAMILIES = [
    pytest.param(family, marks=() if family in QUICK_FAMILIES else pytest.mark.slow)
    for family in FAMILIES
]
OTHER_COMPONENTS = [
    ("sd15", "text_encoder"),
    ("sd21", "text_encoder"),
    ("sdxl", "text_encoder_2"),
    ("sd15", "vae_decoder"),
    ("sd15", "vae_encoder"),
    ("taesd", "vae_decoder"),
    ("taesd", "vae_encoder"),
]
"""What is not a denoiser: a tiny pipeline and a component of it."""


class Heard:
    """Export progress that is kept."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.warnings: list[str] = []
        self.total_bytes = 0
        self.done_bytes = 0

    def step(self, name: str, total_bytes: int | None = None) -> None:
        self.steps.append(name)
        self.total_bytes += total_bytes or 0

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def advance(self, size_bytes: int) -> None:
        self.done_bytes += size_bytes


@dataclass(frozen=True, kw_only=True)
class Exported:
    spec: PipelineSpec
    component: Component
    heard: Heard
    result: ExportResult


def component_of(
    folder: Path, name: str, *, target: str, shapes: Shapes
) -> tuple[PipelineSpec, Component]:
    """Return a component with the axes and outputs that a plan gives it for a target."""
    spec, facts = read_pipeline(resolve(str(folder))), load_target(target)
    found = next(component for component in spec.components if component.name == name)
    found = fix_axes(found, spec, shapes, denoiser_batch=facts.denoiser_batch)
    if facts.text_outputs == "used":
        found = used_outputs(found, spec)
    return spec, timestep_for_each(found) if facts.timestep_for_each else found


_CAPTURES: dict[tuple[str, str, Shapes, int], Capture] = {}


def shared_capture(
    component: Component, folder: Path, *, shapes: Shapes, again: int = 0
) -> Capture:
    """Trace a component once: what comes out depends only on its axes and its config.

    Who compares two traces of it gets the second with `again`.
    """
    key = (repr(component), (folder / "config.json").read_text(), shapes, again)
    if key not in _CAPTURES:
        _CAPTURES[key] = capture(component, folder, shapes=shapes)
    return _CAPTURES[key]


def export_component(
    target: str,
    folder: Path,
    name: str,
    destination: Path,
    recipe: Recipe | str = "fp32",
    *,
    shapes: Shapes | None = None,
    calibration: Path | None = None,
    **options: Any,
) -> Exported:
    """Export a component as packaging does, with a target's own `options`.

    `shapes` defaults to the target's usual ones.
    """
    shapes = shapes or load_target(target).shapes[0]
    spec, component = component_of(folder, name, target=target, shapes=shapes)
    if isinstance(recipe, str):
        recipe = load_recipe(recipe, load_target(target))
    destination.mkdir(parents=True, exist_ok=True)
    heard = Heard()
    job = ExportJob(
        target=target,
        component=component,
        source=folder_source(folder),
        destination=str(destination),
        recipe=recipe,
        shapes=shapes,
        options=options,
        calibration=None if calibration is None else str(calibration),
    )
    result = load_exporter(target).export(job, open_component(job, heard), heard)
    return Exported(spec=spec, component=component, heard=heard, result=result)


def torch_module(folder: Path, component: Component) -> torch.nn.Module:
    network = build_module(folder / component.folder, component.class_name)
    weights = Weights.open(folder / component.folder)
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    state = {
        name: torch.from_numpy(weights.array(tensor.key, np.float32).reshape(tensor.shape).copy())
        for name, tensor in bind(weights, shapes, network_of(component.class_name).keys).items()
    }
    network.load_state_dict(state, strict=False, assign=True)
    return Wrapper(network, component)


def inputs_of(
    component: Component, sizes: Mapping[str, int] | None = None, seed: int = 0
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for tensor in component.inputs:
        shape = [
            axis if isinstance(axis, int) else _size(axis, sizes or {}) for axis in tensor.shape
        ]
        if tensor.dtype == "int64":
            values[tensor.name] = torch.randint(0, 400, shape, generator=generator)
        elif tensor.name == "timestep":
            values[tensor.name] = torch.tensor(873.4).expand(shape).clone()
        else:
            values[tensor.name] = torch.randn(shape, generator=generator)
    return values


def _size(axis: str, sizes: Mapping[str, int]) -> int:
    name, _, divisor = axis.partition(" / ")
    return sizes[name] // int(divisor or 1)


def psnr_db(reference: NDArray[Any], value: NDArray[Any]) -> float:
    error = float(np.mean((reference.astype(np.float64) - value) ** 2))
    return float(10 * np.log10((float(np.ptp(reference)) ** 2) / max(error, 1e-30)))


def lowest_psnr_db(
    folder: Path,
    component: Component,
    compute: Callable[[dict[str, NDArray[Any]]], Sequence[NDArray[Any]]],
    sizes: Mapping[str, int] | None = None,
) -> float:
    """Return the lowest PSNR of any output against torch, after checking types and shapes.

    `compute` gets the inputs by name and returns the outputs in the component's order.
    """
    values = inputs_of(component, sizes)
    with torch.no_grad():
        expected = torch_module(folder, component)(*values.values())
    results = compute({name: value.numpy() for name, value in values.items()})
    for reference, result in zip(expected, results, strict=True):
        assert result.dtype == np.float32
        assert result.shape == tuple(reference.shape)
        assert np.isfinite(result).all()
    return min(
        psnr_db(reference.numpy(), result)
        for reference, result in zip(expected, results, strict=True)
    )


def with_changed_weight(source: Path, folder: Path, value: float) -> Path:
    """Copy a pipeline, with one number of a large weight of its denoiser changed."""
    shutil.copytree(source, folder)
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors[LARGE_WEIGHT] = tensors[LARGE_WEIGHT].copy()
    tensors[LARGE_WEIGHT].flat[5] = value
    save_file(tensors, path)
    return folder


def without_convolution(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """Take one operator out of a target's table."""
    lowering = importlib.import_module(f"edgegen.exporters.{target}.lowering")
    fewer = {call: lower for call, lower in lowering.LOWERINGS.items() if call is not Conv2d}
    monkeypatch.setattr(lowering, "LOWERINGS", fewer)


def assert_laid_out(places: Sequence[tuple[int, int]], file: Path) -> None:
    """Check that (start, size) fill a file one behind the other, large ones from a page on."""
    ordered = sorted(places)
    for (start, size), (behind, _) in itertools.pairwise(ordered):
        assert start + size <= behind
    large = [start for start, size in ordered if size >= 1 << 20]
    assert large
    assert all(start % 4096 == 0 for start in large)
    assert file.stat().st_size == max(start + size for start, size in ordered)
