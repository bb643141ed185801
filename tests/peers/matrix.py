"""What is tried of our packages in optimum's pipelines, and what comes out: a cell a row.

A cell covers every attempt of its family and scheduler: each tiny model, and each recipe whose
arithmetic is float32. It says `same-image` where all of them drew what edgegen's runner draws from
the same package, `loads` where all loaded and one drew another image, and else `cannot`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from edgegen_runner.metrics import psnr_db
from edgegen_runner.png import write_png
from edgegen_runner.png_reader import read_png
from edgegen_runner.schedulers import SHORT_NAMES

from edgegen.core.process import run
from edgegen.core.target import Compatibility, CompatibilityResult
from edgegen.core.targets import load_target
from edgegen.runner.job import Backend, GenerateJob, Request
from edgegen.runner.session import generate
from tests.peers.environment import OPTIMUM_INTEL, OPTIMUM_ONNX, Environment

SAME_PSNR_DB = 50.0
SEED = 20
SIZE = 32
PROMPT, NEGATIVE_PROMPT = "a cat and the dog", "the er"
OPTIMUM_SIDE = Path(__file__).with_name("optimum_side.py")
SCHEDULERS_NOT_TRIED = frozenset(
    (
        *("heun", "kdpm2", "kdpm2-ancestral", "deis", "dpmsolver++-singlestep", "sasolver"),
        *("tcd", "consistency", "edm-euler", "edm-dpmsolver++", "ipndm"),
        *("dpmsolver-sde", "dpmsolver-sde-karras"),
    )
)
"""Schedulers that no peer was given with our packages yet: they have no cell."""
STABLE_DIFFUSION_SCHEDULERS = tuple(
    name for name in SHORT_NAMES if name not in {"flow-match-euler", *SCHEDULERS_NOT_TRIED}
)
"""All that were tried: the one for models that were trained on flows is no choice."""

Packages = Callable[[str, str], Path]
"""Gives the package of a tiny model (a key of `tests.tiny_models.FAMILIES`) and a recipe."""
NOT_TRIED: Mapping[str, str] = dict.fromkeys(
    (
        *("pixart", "consistency-model", "stable-diffusion-depth", "stable-diffusion-upscale"),
        *("stable-diffusion-latent-upscale", "stable-diffusion-edit", "stable-diffusion-xl-edit"),
        *("stable-diffusion-controlnet", "stable-diffusion-inpaint-controlnet"),
        *("stable-diffusion-xl-controlnet", "stable-diffusion-xl-inpaint-controlnet"),
        *("stable-diffusion-t2i-adapter", "stable-diffusion-xl-t2i-adapter"),
    ),
    "no package of it was given to a peer yet",
)
"""Families without a cell, and why: a cell is written down when it was measured."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One image, of a tiny model, to draw with both. The arguments are diffusers' own."""

    family: str
    scheduler: str
    model: str
    own_scheduler: bool = False
    loader: str = "ORTDiffusionPipeline"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one attempt came to; `psnr_db` is None where there is no image."""

    attempt: Attempt
    recipe: str
    pipeline: str | None
    error: str | None
    psnr_db: float | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All outcomes, and the versions that they were measured with."""

    versions: Mapping[str, str]
    outcomes: tuple[Outcome, ...]

    def cells(self) -> dict[tuple[str, str, str], tuple[Outcome, ...]]:
        """Return the outcomes of each loader, family and scheduler."""
        found: dict[tuple[str, str, str], tuple[Outcome, ...]] = {}
        for outcome in self.outcomes:
            attempt = outcome.attempt
            key = (attempt.loader, attempt.family, attempt.scheduler)
            found[key] = (*found.get(key, ()), outcome)
        return found


def key_of(cell: Compatibility) -> tuple[str, str, str]:
    return (cell.loader, cell.family, cell.scheduler)


def onnx_attempts() -> Iterator[Attempt]:
    """Yield all that is tried of ONNX packages."""
    text = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE_PROMPT,
        "guidance_scale": 5.0,
        "num_inference_steps": 6,
    }
    empty = {name: value for name, value in text.items() if name != "negative_prompt"}
    picture = {**text, "strength": 0.6}
    base, inpaint = "stable-diffusion", "stable-diffusion-inpaint"
    large, large_inpaint = "stable-diffusion-xl", "stable-diffusion-xl-inpaint"
    for name in STABLE_DIFFUSION_SCHEDULERS:
        yield Attempt(family=base, scheduler=name, model="sd15", arguments=text)
        yield Attempt(family=large, scheduler=name, model="sdxl", arguments=empty)
    yield _own(base, "pndm", "sd15", empty)
    yield _own(base, "ddim", "sd21", text)
    yield Attempt(family=base, scheduler="euler", model="sd21", arguments=text)
    yield _own(base, "ddim", "taesd", text)
    yield _own(large, "euler", "sdxl", text)
    yield _own("stable-diffusion-xl-refiner", "euler", "sdxl-refiner", picture, "image")
    yield _own(inpaint, "pndm", "sd-inpaint", text, "image", "mask_image")
    yield _own(inpaint, "pndm", "sd-inpaint", picture, "image", "mask_image")
    yield _own(large_inpaint, "euler", "sdxl-inpaint", picture, "image", "mask_image")
    few = {"prompt": PROMPT, "guidance_scale": 8.5, "num_inference_steps": 4}
    yield _own("latent-consistency", "lcm", "lcm", few)
    yield _own("unconditional", "ddpm", "ddpm", {"num_inference_steps": 4})
    yield _own("unconditional", "ddim", "ddim", {"num_inference_steps": 4})
    other = {"loader": "ORTPipelineForImage2Image"}
    yield _own(base, "pndm", "sd15", picture, "image", **other)
    yield _own(base, "ddim", "taesd", picture, "image", **other)
    yield _own(large, "euler", "sdxl", picture, "image", **other)
    yield _own("latent-consistency", "lcm", "lcm", {**few, "strength": 0.6}, "image", **other)
    other = {"loader": "ORTPipelineForInpainting"}
    yield _own(base, "pndm", "sd15", picture, "image", "mask_image", **other)
    yield _own(large, "euler", "sdxl", picture, "image", "mask_image", **other)


def openvino_attempts() -> Iterator[Attempt]:
    """Yield all that is tried of OpenVINO packages: every family, with its own scheduler."""
    text = {"prompt": PROMPT, "guidance_scale": 5.0, "num_inference_steps": 6}
    both = {**text, "negative_prompt": NEGATIVE_PROMPT}
    picture = {**both, "strength": 0.6}
    few = {"prompt": PROMPT, "guidance_scale": 8.5, "num_inference_steps": 4}
    base, large = "stable-diffusion", "stable-diffusion-xl"
    usual = {"loader": "OVDiffusionPipeline"}
    yield _own(base, "pndm", "sd15", both, **usual)
    yield _own(base, "ddim", "sd21", both, **usual)
    yield _own(base, "ddim", "taesd", both, **usual)
    yield _own(large, "euler", "sdxl", text, **usual)
    yield _own(large, "euler", "sdxl", both, **usual)
    yield _own("stable-diffusion-xl-refiner", "euler", "sdxl-refiner", picture, "image", **usual)
    yield _own("latent-consistency", "lcm", "lcm", few, **usual)
    painted = ("image", "mask_image")
    yield _own("stable-diffusion-inpaint", "pndm", "sd-inpaint", both, *painted, **usual)
    yield _own("stable-diffusion-xl-inpaint", "euler", "sdxl-inpaint", picture, *painted, **usual)
    yield _own("unconditional", "ddpm", "ddpm", {"num_inference_steps": 4}, **usual)
    other = {"loader": "OVPipelineForImage2Image"}
    yield _own(base, "pndm", "sd15", picture, "image", **other)
    yield _own(large, "euler", "sdxl", picture, "image", **other)


def _given(attempt: Attempt) -> tuple[str, Mapping[str, Any]]:
    """Return another scheduler's class and options, as the pipeline's class would correct them.

    docs/decisions/0017: the runner draws as a pipeline that was made with the scheduler.
    """
    class_name, options = SHORT_NAMES[attempt.scheduler]
    corrected = {"steps_offset": 1, "clip_sample": False}
    return class_name, options | (corrected if attempt.family == "stable-diffusion" else {})


def _own(
    family: str,
    scheduler: str,
    model: str,
    arguments: Mapping[str, Any],
    *pictures: str,
    loader: str = "ORTDiffusionPipeline",
) -> Attempt:
    """Return an attempt with the scheduler that the package comes with."""
    return Attempt(
        family=family,
        scheduler=scheduler,
        model=model,
        own_scheduler=True,
        loader=loader,
        arguments=arguments,
        pictures=pictures,
    )


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A library of optimum's, how it loads a package, and what is tried with it."""

    runtime: str
    environment: Environment
    target: str
    backend: str
    module: str
    recipes: tuple[str, ...]
    attempts: Callable[[], Iterator[Attempt]]
    versions: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


ONNX = Peer(
    runtime="optimum-onnx",
    environment=OPTIMUM_ONNX,
    target="onnx",
    backend="onnxruntime",
    module="optimum.onnxruntime",
    recipes=("fp32", "fp16-storage"),
    attempts=onnx_attempts,
    versions=("optimum-onnx", "diffusers", "transformers", "onnxruntime", "torch"),
)
OPENVINO = Peer(
    runtime="optimum-intel",
    environment=OPTIMUM_INTEL,
    target="openvino",
    backend="openvino",
    module="optimum.intel",
    recipes=("fp32",),
    attempts=openvino_attempts,
    versions=("optimum-intel", "diffusers", "transformers", "openvino", "torch"),
    options={"device": "CPU", "ov_config": {"INFERENCE_PRECISION_HINT": "f32"}},
)
PEERS = (ONNX, OPENVINO)


def cells_of(peer: Peer) -> list[Compatibility]:
    """Return what the target says of a peer."""
    return [cell for cell in load_target(peer.target).compatibility if cell.runtime == peer.runtime]


def measure(peer: Peer, packages: Packages, scratch: Path) -> Measured:
    """Draw all attempts with both, and compare."""
    write_pictures(scratch)
    tried = sorted(
        ((attempt, recipe) for recipe in peer.recipes for attempt in peer.attempts()),
        key=lambda pair: (pair[1], pair[0].model, pair[0].loader),
    )
    asked = [
        {
            "package": str(packages(attempt.model, recipe)),
            "loader": attempt.loader,
            "scheduler": None if attempt.own_scheduler else _given(attempt),
            "seed": SEED,
            "arguments": _size(attempt) | dict(attempt.arguments),
            "pictures": {name: str(scratch / f"{name}.png") for name in attempt.pictures},
            "output": str(scratch / f"peer-{index}.npy"),
        }
        for index, (attempt, recipe) in enumerate(tried)
    ]
    answer = ask_peer(peer, asked, scratch)
    outcomes = []
    for index, ((attempt, recipe), result) in enumerate(zip(tried, answer["results"], strict=True)):
        psnr = None
        if result["error"] is None:
            package = packages(attempt.model, recipe)
            ours = draw(peer, package, attempt, scratch, f"ours-{index}.png")
            psnr = psnr_db(ours, np.load(scratch / f"peer-{index}.npy"), peak=255.0)
        outcomes.append(
            Outcome(
                attempt=attempt,
                recipe=recipe,
                pipeline=result["pipeline"],
                error=result["error"],
                psnr_db=psnr,
            )
        )
    return Measured(versions=answer["versions"], outcomes=tuple(outcomes))


def ask_peer(peer: Peer, attempts: Sequence[Mapping[str, Any]], scratch: Path) -> Any:
    """Run the peer's side in its own environment and return its answer."""
    asked = {
        "module": peer.module,
        "options": peer.options,
        "versions": peer.versions,
        "attempts": attempts,
    }
    (scratch / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    run(
        [
            str(peer.environment.python()),
            str(OPTIMUM_SIDE),
            str(scratch / "asked.json"),
            str(scratch / "answer.json"),
        ],
        timeout_s=1800,
        env={"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": ""},
    )
    return json.loads((scratch / "answer.json").read_text(encoding="utf-8"))


def draw(
    peer: Peer, package: Path, attempt: Attempt, scratch: Path, name: str, *, seed: int = SEED
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw an attempt with edgegen's runner: (height, width, 3)."""
    arguments = attempt.arguments
    has = set(attempt.pictures)
    request = Request(
        prompts=(arguments["prompt"],) if "prompt" in arguments else None,
        negative_prompt=arguments.get("negative_prompt"),
        steps=arguments["num_inference_steps"],
        guidance=arguments.get("guidance_scale"),
        strength=arguments.get("strength"),
        scheduler=None if attempt.own_scheduler else attempt.scheduler,
        seed=seed,
        image=str(scratch / "image.png") if "image" in has else None,
        mask=str(scratch / "mask_image.png") if "mask_image" in has else None,
    )
    generate(
        GenerateJob(
            package=str(package),
            request=request,
            output=str(scratch),
            file_names=(name,),
            backend=Backend(name=peer.backend, threads=1),
        )
    )
    return read_png(scratch / name)


def write_pictures(folder: Path) -> None:
    """Write a picture and a mask of the model's size, so that nobody has to resize them."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    picture = np.stack([rows * 7, columns * 7, (rows + columns) * 3], axis=-1)
    picture = np.clip(picture + generator.integers(0, 30, picture.shape), 0, 255)
    write_png(folder / "image.png", picture.astype(np.uint8))
    mask = np.where((rows > 8) & (columns < 20), 255, 0).astype(np.uint8)
    write_png(folder / "mask_image.png", np.repeat(mask[:, :, None], 3, axis=2))


def _size(attempt: Attempt) -> dict[str, int]:
    """Return the size that diffusers is told: image-to-image draws at the picture's."""
    takes_size = "mask_image" in attempt.pictures or not attempt.pictures
    if attempt.family == "unconditional" or not takes_size:
        return {}
    return {"height": SIZE, "width": SIZE}


def result_of(outcomes: Sequence[Outcome]) -> CompatibilityResult:
    """Return what a cell says of its attempts."""
    if any(outcome.psnr_db is None for outcome in outcomes):
        return "cannot"
    if all((outcome.psnr_db or 0.0) >= SAME_PSNR_DB for outcome in outcomes):
        return "same-image"
    return "loads"


def describe(outcomes: Sequence[Outcome]) -> str:
    """Return a line an attempt, for a test that has failed."""
    return "\n".join(
        f"  {item.attempt.model} {item.recipe} in {item.pipeline}: "
        + (item.error or f"{math.inf if item.psnr_db is None else item.psnr_db:.1f} dB")
        for item in outcomes
    )
