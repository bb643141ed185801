"""Builds the diffusers pipeline that a package is compared with, its weights on the disk.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy.typing as npt
import torch

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import STEERING, Component, PipelineSpec
from edgegen.families import family_of
from edgegen.models.binding import bind
from edgegen.models.pipeline_source import PipelineSource
from edgegen.models.scheduler import scheduler_config
from edgegen.networks import network_of
from edgegen.reference.lms import lms_class
from edgegen.reference.modules import build_module
from edgegen.reference.sde import sde_class
from edgegen.reference.streaming import StreamedWeights
from edgegen.tokenizers import tokenizers_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A diffusers pipeline, and the weights that its modules use while `weights` is entered.

    `modules` are the pipeline's networks by their folder.
    """

    pipeline: Any
    modules: Mapping[str, torch.nn.Module]
    weights: StreamedWeights


def load_reference(
    spec: PipelineSpec, source: PipelineSource, weights: StreamedWeights | None = None
) -> Reference:
    """Build the pipeline of a family from its configs, in float32; no weight is kept in memory.

    `weights` streams them; by default, plain ones do. Nothing is loaded by the hub's machinery.
    Raises SourceError where a config makes no module, and where the weights do not fit it.
    """
    weights = weights or StreamedWeights()
    folder = source.configs
    modules = {
        component.folder: _load_module(source, component, weights)
        for component in {component.folder: component for component in spec.components}.values()
    }
    parts: dict[str, Any] = {
        **modules,
        **_load_tokenizers(spec, folder),
        "scheduler": load_scheduler(spec, folder),
        **_load_more_schedulers(spec, folder),
        "requires_safety_checker": False,
        "force_zeros_for_empty_prompt": spec.generation.force_zeros_for_empty_prompt,
        "requires_aesthetics_score": spec.generation.requires_aesthetics_score,
        "add_watermarker": False,
        "max_noise_level": spec.generation.most_noise_level,
        "is_cosxl_edit": spec.generation.scaled_picture,
    }
    steering = [it for it in spec.components if it.role in STEERING]
    for component in steering:
        if any(len(it.shape) == 4 and it.shape[1] == 1 for it in component.inputs):
            modules[component.folder].register_forward_pre_hook(_first_channel)
    for slot in family_of(spec.family).slots:
        filled = [modules[it.folder] for it in steering]
        if slot.several is not None:
            joined = getattr(importlib.import_module("diffusers"), slot.several)
            parts[slot.name] = filled[0] if len(filled) == 1 else joined(filled)
    encoder = next((it for it in spec.components if it.role == "image_encoder"), None)
    if encoder is not None:
        parts["feature_extractor"] = _picture_processor(encoder)
    build = _pipeline_class(spec)
    arguments = inspect.signature(build.__init__).parameters
    pipeline = build(**{name: parts.get(name) for name in arguments if name != "self"})
    pipeline.set_progress_bar_config(disable=True)
    return Reference(pipeline=pipeline, modules=modules, weights=weights)


def _first_channel(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
    """Give a network that sees in gray the first channel of a picture whose channels are equal."""
    picture, *others = inputs
    return (picture[:, :1], *others)


def load_scheduler(spec: PipelineSpec, folder: Path) -> Any:
    """Build the diffusers scheduler of a pipeline in `folder`. Raises SourceError."""
    name = spec.scheduler.class_name
    build = scheduler_class(name)
    if build is None:
        raise SourceError(
            f"{folder}: diffusers {diffusers.__version__} has no scheduler {name}.",
            hint="Upgrade diffusers, or set another scheduler in model_index.json.",
        )
    try:
        return build.from_config(scheduler_config(folder, spec.scheduler))
    except ImportError as error:  # diffusers places sigmas of use_beta_sigmas with scipy
        raise SourceError(
            f"diffusers cannot make the {name} of {folder}: {error}", hint="Run: pip install scipy"
        ) from error


def scheduler_class(name: str) -> Any | None:
    """Return a class of diffusers' schedulers, None for a name of none."""
    if name == "LMSDiscreteScheduler":
        return lms_class()
    if name == "DPMSolverSDEScheduler":
        return sde_class()
    build = getattr(diffusers, name, None)
    is_scheduler = inspect.isclass(build) and issubclass(build, diffusers.SchedulerMixin)
    return build if is_scheduler else None


def with_scheduler(pipeline: Any, scheduler: Any) -> Any:
    """Return a pipeline of the same parts around another scheduler.

    It is made anew: its class corrects a scheduler that it is given, not one that is assigned.
    """
    arguments = inspect.signature(type(pipeline).__init__).parameters
    watermark = getattr(pipeline, "watermark", None)
    known = {
        **pipeline.config,
        **pipeline.components,
        "scheduler": scheduler,
        "add_watermarker": watermark is not None,
        "is_cosxl_edit": getattr(pipeline, "is_cosxl_edit", False),
    }
    return type(pipeline)(**{name: known[name] for name in arguments if name in known})


def _load_more_schedulers(spec: PipelineSpec, folder: Path) -> dict[str, Any]:
    """Load the schedulers that a family has besides the one that draws, by their entries."""
    loaded = {}
    for name in family_of(spec.family).schedulers:
        config = ComponentConfig.read(folder / name / "scheduler_config.json").data
        build = getattr(diffusers, str(config.get("_class_name")))
        loaded[name] = build.from_config(config)
    return loaded


def _picture_processor(encoder: Component) -> Any:
    """Return what diffusers makes of an IP-Adapter's pictures, without torchvision."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    side = encoder.inputs[0].shape[-1]
    return CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )


def _load_module(
    source: PipelineSource, component: Component, streamed: StreamedWeights
) -> torch.nn.Module:
    module = build_module(source.configs / component.folder, component.class_name)
    weights = source.weights(component.folder, component.variant)
    shapes = {name: tuple(it.shape) for name, it in module.state_dict().items()}
    bound = bind(weights, shapes, network_of(component.class_name).keys)

    def read(name: str) -> npt.NDArray[Any]:
        tensor = bound[name]
        # every step of a run reads all weights of the denoiser again
        return weights.array(tensor.key, again=True).reshape(tensor.shape)

    streamed.add(module, component=component.folder, names=bound.keys(), read=read)
    return module


def _load_tokenizers(spec: PipelineSpec, folder: Path) -> dict[str, Any]:
    """Load the tokenizers, by folder; they pad and cut to the text's length.

    Their own length may be enormous, or more than the text encoder has positions, with which
    diffusers' pipelines fail.
    """
    wanted = {slot.tokenizer for slot in family_of(spec.family).slots}
    loaded = {}
    for path, tokenizer in tokenizers_in(folder):
        if path.name in wanted:
            loaded[path.name] = tokenizer.load(path)
            loaded[path.name].model_max_length = spec.generation.text_length
    return loaded


def _pipeline_class(spec: PipelineSpec) -> Any:
    known = family_of(spec.family).reference.classes
    name = spec.pipeline_class if spec.pipeline_class in known else known[0]
    return getattr(importlib.import_module("diffusers"), name)
