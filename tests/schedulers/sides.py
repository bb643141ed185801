"""One image of a pipeline twice: by diffusers' own pipeline class, and by the runner.

Networks are left out: a smooth function stands for the denoiser, means of blocks for the
autoencoder, constants for texts. What is left is what a scheduler has to do with, from the config
file to the latents after every step, and thousands of images are drawn in minutes.
"""

from __future__ import annotations

import functools
import importlib
import json
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.generation import FamilyFacts, Generation
from edgegen_runner.package import Component, Package, Tensor, Tolerance
from edgegen_runner.pipelines import open_pipeline
from edgegen_runner.pipelines.base import Start
from edgegen_runner.png import write_png
from edgegen_runner.request import Request
from edgegen_runner.residency import Components
from edgegen_runner.schedulers import SHORT_NAMES, dpmsolver_sde
from PIL import Image

from edgegen.families import facts_of
from edgegen.reference.sde import seed_noise
from tests.schedulers.smooth import SmoothPath, smooth_sde_class
from tests.tiny_models import write_json, write_tokenizer

SIZE, SCALE, CHANNELS = 16, 2, 4
SEED = 7
EPSILON = float(np.finfo(np.float32).eps)
PROMPT = "a cat"
EMBEDDING = 6
_ROLES = {"unet": "denoiser", "vae_encoder": "encoder", "vae_decoder": "decoder"}


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to draw: the class that diffusers draws with, and how the package calls it."""

    pipeline: str
    family: str
    start: str = "text"
    channels: int = CHANNELS
    embeds_guidance: bool = False

    @property
    def is_xl(self) -> bool:
        return "XL" in self.pipeline


WAYS: Mapping[str, Way] = {
    "SD, text": Way(pipeline="StableDiffusionPipeline", family="stable-diffusion"),
    "SD, image": Way(
        pipeline="StableDiffusionImg2ImgPipeline", family="stable-diffusion", start="image"
    ),
    "SD, mask": Way(
        pipeline="StableDiffusionInpaintPipeline", family="stable-diffusion", start="mask"
    ),
    "SD inpainting, mask": Way(
        pipeline="StableDiffusionInpaintPipeline",
        family="stable-diffusion-inpaint",
        start="mask",
        channels=2 * CHANNELS + 1,
    ),
    "SDXL, text": Way(pipeline="StableDiffusionXLPipeline", family="stable-diffusion-xl"),
    "SDXL, image": Way(
        pipeline="StableDiffusionXLImg2ImgPipeline", family="stable-diffusion-xl", start="image"
    ),
    "SDXL, mask": Way(
        pipeline="StableDiffusionXLInpaintPipeline", family="stable-diffusion-xl", start="mask"
    ),
    "SDXL inpainting, mask": Way(
        pipeline="StableDiffusionXLInpaintPipeline",
        family="stable-diffusion-xl-inpaint",
        start="mask",
        channels=2 * CHANNELS + 1,
    ),
    "SDXL refiner, image": Way(
        pipeline="StableDiffusionXLImg2ImgPipeline",
        family="stable-diffusion-xl-refiner",
        start="image",
    ),
    "LCM, text": Way(
        pipeline="LatentConsistencyModelPipeline",
        family="latent-consistency",
        embeds_guidance=True,
    ),
    "LCM, image": Way(
        pipeline="LatentConsistencyModelImg2ImgPipeline",
        family="latent-consistency",
        start="image",
        embeds_guidance=True,
    ),
    "SD with a guidance embedding, text": Way(
        pipeline="StableDiffusionPipeline", family="stable-diffusion", embeds_guidance=True
    ),
    "SD with a guidance embedding, image": Way(
        pipeline="StableDiffusionImg2ImgPipeline",
        family="stable-diffusion",
        start="image",
        embeds_guidance=True,
    ),
    "SDXL with a guidance embedding, text": Way(
        pipeline="StableDiffusionXLPipeline", family="stable-diffusion-xl", embeds_guidance=True
    ),
    "DDPM": Way(pipeline="DDPMPipeline", family="unconditional"),
    "DDIM": Way(pipeline="DDIMPipeline", family="unconditional"),
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One image to draw: the config as it lies in the folder, and what is asked for.

    ``own`` is the scheduler's class in `model_index.json`; ``wanted`` replaces it.
    """

    way: str
    own: str
    config: Mapping[str, Any]
    steps: int
    wanted: str | None = None
    strength: float | None = None
    eta: float = 0.0
    guidance: float = 3.0


@dataclass(frozen=True)
class Drawn:
    """The latents after every step, the largest of the first ones, and why there are no more."""

    latents: list[np.ndarray] = field(default_factory=list)
    timesteps: list[float] = field(default_factory=list)
    refused: str = ""
    first: float = 0.0


def predict(
    sample: np.ndarray,
    timestep: float,
    states: np.ndarray | None = None,
    time_ids: np.ndarray | None = None,
    embedding: np.ndarray | None = None,
) -> np.ndarray:
    """Predict noise smoothly and not linearly: most of a noisy sample, less of a clean one."""
    wide = sample[:, :CHANNELS].astype(np.float64)
    level = float(timestep) / 1000
    told = np.zeros((len(wide), 1, 1, 1))
    if states is not None:
        told += 0.2 * states.astype(np.float64).mean(axis=(1, 2)).reshape(-1, 1, 1, 1)
    if time_ids is not None:
        told += 0.001 * time_ids.astype(np.float64).mean(axis=1).reshape(-1, 1, 1, 1)
    if embedding is not None:
        told += 0.1 * embedding.astype(np.float64).mean(axis=1).reshape(-1, 1, 1, 1)
    noise = (0.35 + 0.6 * level) * wide / np.sqrt(1 + 0.05 * wide**2)
    noise += 0.3 * np.sin(2 * np.roll(wide, 1, axis=-1) + 3 * level + told)
    if sample.shape[1] > CHANNELS:
        noise += 0.1 * sample[:, CHANNELS:].astype(np.float64).mean(axis=1, keepdims=True)
    return noise.astype(np.float32)


def encode_picture(picture: np.ndarray) -> np.ndarray:
    """Return mean and logarithm of the variance, (1, 8, height / 2, width / 2)."""
    blocks = picture.reshape(1, 3, SIZE // SCALE, SCALE, SIZE // SCALE, SCALE).mean(axis=(3, 5))
    mean = np.concatenate([blocks, blocks[:, :1] - blocks[:, 1:2]], axis=1)
    return np.concatenate([mean, np.full_like(mean, -4.0)], axis=1).astype(np.float32)


def text_states(is_prompt: bool, width: int) -> np.ndarray:
    value = np.linspace(0.2, 0.9, 3 * width) if is_prompt else np.linspace(-0.6, 0.1, 3 * width)
    return value.reshape(1, 3, width).astype(np.float32)


def picture_file(folder: Path, name: str) -> Path:
    path = folder / f"{name}.png"
    if not path.exists():
        rows, columns = np.mgrid[0:SIZE, 0:SIZE]
        layers = [np.sin(rows / 5), np.cos(columns / 7), np.sin((rows + columns) / 3)]
        pixels = ((np.stack(layers, axis=2) * 0.5 + 0.5) * 255).astype(np.uint8)
        write_png(path, pixels if name == "image" else pixels[:, :, 2:])
    return path


# diffusers' side


class _Unet(torch.nn.Module):
    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self, way: Way) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            in_channels=way.channels,
            out_channels=CHANNELS,
            sample_size=SIZE // SCALE,
            time_cond_proj_dim=EMBEDDING if way.embeds_guidance else None,
            addition_time_embed_dim=1,
            _diffusers_version="0.42.1",
        )
        ids = 5 if way.family.endswith("refiner") else 6
        linear = SimpleNamespace(in_features=ids + 4)
        self.add_embedding = SimpleNamespace(linear_1=linear)

    def forward(self, sample: Any, timestep: Any, **told: Any) -> Any:
        states, added = told.get("encoder_hidden_states"), told.get("added_cond_kwargs") or {}
        embedding = told.get("timestep_cond")
        value = torch.from_numpy(
            predict(
                sample.numpy(),
                float(timestep),
                None if states is None else states.numpy(),
                added["time_ids"].numpy() if "time_ids" in added else None,
                None if embedding is None else embedding.numpy(),
            )
        )
        return (value,) if told.get("return_dict") is False else SimpleNamespace(sample=value)


class _Autoencoder(torch.nn.Module):
    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            block_out_channels=(1, 1),
            latent_channels=CHANNELS,
            scaling_factor=0.5,
            shift_factor=None,
            force_upcast=False,
            latents_mean=None,
            latents_std=None,
        )

    def encode(self, picture: Any) -> Any:
        moments = torch.from_numpy(encode_picture(picture.numpy()))
        return SimpleNamespace(latent_dist=DiagonalGaussianDistribution(moments))


def diffusers_class(name: str) -> Any:
    """Return a scheduler of diffusers; LMS integrates by quadrature where scipy is missing.

    DPMSolverSDE goes along a smooth path; Brownian motion is held against torchsde's elsewhere.
    """
    if name == "LMSDiscreteScheduler":
        module: Any = importlib.import_module("diffusers.schedulers.scheduling_lms_discrete")
        if not hasattr(module, "integrate"):
            module.integrate = types.SimpleNamespace(quad=gauss_quad)
        return module.LMSDiscreteScheduler
    if name == "DPMSolverSDEScheduler":
        return smooth_sde_class()
    return getattr(diffusers, name)


def gauss_quad(function: Any, start: Any, end: Any, epsrel: float) -> tuple[float, float]:
    """Integrate as ``scipy.integrate.quad`` does, exactly up to degree 9."""
    nodes, weights = np.polynomial.legendre.leggauss(5)
    middle, half = (float(start) + float(end)) / 2, (float(end) - float(start)) / 2
    values = [float(function(middle + half * node)) for node in nodes]
    return half * float(np.dot(weights, values)), 0.0


def drawn_by_diffusers(cell: Cell, folder: Path) -> Drawn:
    """Draw with the way's own pipeline class, which is given the scheduler when it is made."""
    way = WAYS[cell.way]
    class_name, implied = SHORT_NAMES.get(str(cell.wanted), (cell.wanted or cell.own, {}))
    drawn = Drawn()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            scheduler = diffusers_class(class_name).from_config({**cell.config, **implied})
            pipeline = _pipeline(way, scheduler)
            seed_noise(pipeline.scheduler, [SEED])
            arguments = _arguments(cell, way, folder)
            if way.family == "unconditional":
                pipeline.scheduler.step = _recorded(pipeline.scheduler.step, drawn)
            else:
                arguments["callback_on_step_end"] = functools.partial(_keep, drawn)
            pipeline(**arguments)
        except (ValueError, TypeError, AttributeError, NotImplementedError, IndexError) as error:
            return Drawn(drawn.latents, refused=f"{type(error).__name__}: {error}")
        except (RuntimeError, AssertionError, ImportError, NameError) as error:
            return Drawn(refused=f"{type(error).__name__}: {error}")
    for count, latents in enumerate(drawn.latents):
        if not np.isfinite(latents).all():
            return Drawn(latents=drawn.latents[:count], refused="not a number")
    return drawn


def _keep(drawn: Drawn, pipeline: Any, index: int, timestep: Any, told: Any) -> dict[str, Any]:
    """Keep the latents after a step, with what a mask protects put back."""
    drawn.latents.append(told["latents"].numpy().copy())
    drawn.timesteps.append(float(timestep))
    return {}


def _recorded(step: Any, drawn: Drawn) -> Any:
    """Return a step of diffusers' unconditional pipelines, which call nothing back."""

    @functools.wraps(step)  # diffusers reads the signature
    def recorded(model_output: Any, timestep: Any, *arguments: Any, **named: Any) -> Any:
        result = step(model_output, timestep, *arguments, **named)
        drawn.latents.append(result.prev_sample.numpy().copy())
        drawn.timesteps.append(float(timestep))
        return result

    return recorded


def _pipeline(way: Way, scheduler: Any) -> Any:
    build = getattr(diffusers, way.pipeline)
    unet = _Unet(way)
    if way.family == "unconditional":
        unet.config.in_channels = CHANNELS
        pipeline = build(unet=unet, scheduler=scheduler)
    else:
        parts = {"vae": _Autoencoder(), "unet": unet, "scheduler": scheduler}
        parts |= {"text_encoder": None, "tokenizer": None}
        if way.is_xl:
            parts |= {"text_encoder_2": None, "tokenizer_2": None}
            parts |= {"force_zeros_for_empty_prompt": False, "add_watermarker": False}
            if way.family.endswith("refiner"):
                parts["requires_aesthetics_score"] = True
        else:
            parts |= {"safety_checker": None, "feature_extractor": None}
            parts["requires_safety_checker"] = False
        pipeline = build(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _arguments(cell: Cell, way: Way, folder: Path) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "num_inference_steps": cell.steps,
        "generator": torch.Generator().manual_seed(SEED),
    }
    if cell.eta and "LatentConsistency" not in way.pipeline and way.pipeline != "DDPMPipeline":
        arguments["eta"] = cell.eta
    if way.family == "unconditional":
        return arguments
    arguments |= {"guidance_scale": cell.guidance, "output_type": "latent"}
    width = 8 if way.is_xl and not way.family.endswith("refiner") else 4
    arguments["prompt_embeds"] = torch.from_numpy(text_states(True, width))
    if way.family != "latent-consistency":
        arguments["negative_prompt_embeds"] = torch.from_numpy(text_states(False, width))
    if way.is_xl:
        for key, is_prompt in (
            ("pooled_prompt_embeds", True),
            ("negative_pooled_prompt_embeds", False),
        ):
            arguments[key] = torch.from_numpy(text_states(is_prompt, 4)[:, 0])
    if way.start != "text":
        arguments["image"] = _opened(picture_file(folder, "image"))
        if cell.strength is not None:
            arguments["strength"] = cell.strength
    if way.start == "mask":
        arguments["mask_image"] = _opened(picture_file(folder, "mask"))
    if way.start != "image":
        arguments |= {"width": SIZE, "height": SIZE}
    return arguments


def _opened(path: Path) -> Any:
    with Image.open(path) as picture:
        return picture.copy()


# the runner's side


class _Backend:
    name = "function"
    version = "0"
    available_providers = ("function",)
    arithmetic_gaps: Mapping[str, str] = MappingProxyType({})

    def __init__(self, nudge: float, period: int) -> None:
        self.nudge, self.period = nudge, period

    def load(self, path: Path, component: Any) -> _Session:
        return _Session(component, self.nudge, self.period)


class _Session:
    providers = ("function",)
    arithmetic = "float32"

    def __init__(self, component: Any, nudge: float, period: int) -> None:
        self.component, self.nudge, self.period = component, nudge, period

    def run(
        self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None
    ) -> dict[str, Any]:
        name = self.component.name
        if name == "unet":
            value = predict(
                inputs["sample"],
                float(inputs["timestep"]),
                inputs.get("encoder_hidden_states"),
                inputs.get("time_ids"),
                inputs.get("timestep_cond"),
            )
            nudged = value * (1 + self.nudge * _signs(value, self.period))
            return {"out_sample": nudged.astype(np.float32)}
        if name == "vae_encoder":
            return {"latent_parameters": encode_picture(inputs["sample"])}
        is_prompt = len(set(inputs["input_ids"].ravel().tolist())) > 2
        states = text_states(is_prompt, 4)
        return {
            key: states[:, 0] if key == "text_embeds" else states
            for key in outputs or self.component.outputs
        }

    def close(self) -> None:
        pass


def write_folder(folder: Path) -> None:
    """Write what does not change from cell to cell: tokenizers and a place for the config."""
    for number in ("", "_2"):
        write_tokenizer(folder / f"tokenizer{number}")
        write_json(folder / f"text_encoder{number}" / "config.json", {"num_hidden_layers": 1})
    (folder / "scheduler").mkdir(exist_ok=True)


def package_of(way: Way, folder: Path) -> Package:
    unconditional = way.family == "unconditional"
    size = SIZE // SCALE if unconditional else SIZE
    scale = 1 if unconditional else SCALE
    names = ["unet"]
    if not unconditional:
        names += ["vae_encoder", "vae_decoder"]
        names += ["text_encoder"] * (not way.family.endswith("refiner"))
        names += ["text_encoder_2"] * way.is_xl
    return Package(
        folder=folder,
        family=way.family,
        facts=_facts(way),
        pipeline_class=way.pipeline,
        generation=Generation(
            width=size,
            height=size,
            latent_channels=CHANNELS,
            vae_scale_factor=scale,
            scaling_factor=1.0 if unconditional else 0.5,
            text_length=77,
            guidance_embedding_dim=EMBEDDING if way.embeds_guidance else None,
            requires_aesthetics_score=way.family.endswith("refiner"),
        ),
        components={name: _component(name, folder, way) for name in names},
        tolerance=Tolerance(0.0, 0.0, 0.0),
        golden=None,
        model="none",
    )


def _facts(way: Way) -> FamilyFacts:
    embedding = EMBEDDING if way.embeds_guidance else None
    generation = Generation(
        width=SIZE, height=SIZE, latent_channels=CHANNELS, guidance_embedding_dim=embedding
    )
    return facts_of(way.family, generation)


def _component(name: str, folder: Path, way: Way) -> Component:
    outputs: tuple[str, ...] = ("out_sample",)
    if name.startswith("text_encoder"):
        outputs = ("last_hidden_state", "hidden_states.0")
        outputs += ("text_embeds",) if name == "text_encoder_2" else ()
    elif name == "vae_encoder":
        outputs = ("latent_parameters",)
    inputs: tuple[str, ...] = ("input_ids",) if name.startswith("text") else ("sample",)
    if name == "unet" and way.family == "unconditional":
        inputs = ("sample", "timestep")
    elif name == "unet":
        inputs = ("sample", "timestep", "encoder_hidden_states")
        inputs += ("text_embeds", "time_ids") * way.is_xl
        inputs += ("timestep_cond",) * way.embeds_guidance
    shapes: dict[str, tuple[int | str, ...]] = {
        "out_sample": ("batch", CHANNELS, "height", "width"),
        "sample": ("batch", way.channels, "height", "width"),
        "input_ids": ("batch", "sequence"),
    }
    return Component(
        name,
        _ROLES.get(name, "text_encoder"),
        folder,
        {each: Tensor(each, "float32", shapes.get(each, ())) for each in inputs},
        {each: Tensor(each, "float32", shapes.get(each, ())) for each in outputs},
    )


def _rounded(start: Start, share: float, period: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return what a mask puts back, with the rounding of each sample left in the next."""
    before = start.latents

    def keep(latents: np.ndarray, index: int) -> np.ndarray:
        nonlocal before
        if start.keep is not None:
            latents = start.keep(latents, index)
        moved = latents + (share * np.abs(before) * _signs(latents, period)).astype(np.float32)
        before = latents
        return moved

    return keep


def _signs(values: np.ndarray, period: int) -> np.ndarray:
    """Return ups and downs, 1 and -1, that alternate after so many of the values."""
    return np.where(np.arange(values.size) // period % 2, 1, -1).reshape(values.shape)


def drawn_by_runner(cell: Cell, folder: Path, *, nudge: float = 0.0, period: int = 1) -> Drawn:
    """Draw as `edgegen run` does, from the package's scheduler_config.json.

    With a ``nudge`` each prediction is changed by that share of itself, up and down, the first
    sample by its rounding, and each new one by what rounding does to the one before.
    """
    way = WAYS[cell.way]
    config = {**cell.config, "_class_name": cell.own}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    request: dict[str, Any] = {"steps": cell.steps, "scheduler": cell.wanted, "eta": cell.eta}
    if way.family != "unconditional":
        request |= {"guidance": cell.guidance, "strength": cell.strength}
    if way.start != "text":
        request["image"] = picture_file(folder, "image")
    if way.start == "mask":
        request["mask"] = picture_file(folder, "mask")
    components = Components(
        package_of(way, folder), _Backend(nudge, period), "all", lambda *_, **__: None
    )
    try:
        pipeline = open_pipeline(components, Request(**request))
    except RunnerFailure as error:
        return Drawn(refused=f"{error.kind}: {error}")
    conditioning = pipeline.encode(None if way.family == "unconditional" else PROMPT)
    start = pipeline.prepare(SEED)
    if nudge:
        share = np.copysign(EPSILON, nudge)
        first = start.latents * (1 + share * _signs(start.latents, period)).astype(np.float32)
        start = replace(start, latents=first, keep=_rounded(start, share, period))
    drawn = Drawn(first=float(np.abs(start.latents).max()))
    with np.errstate(all="ignore"), mock.patch.object(dpmsolver_sde, "BrownianPath", SmoothPath):
        for step in pipeline.denoise(conditioning, start):
            drawn.latents.append(step.latents)
            drawn.timesteps.append(step.timestep)
    return drawn
