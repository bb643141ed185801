"""Draw images from an edgegen package with OpenVINO GenAI.

    python text2image.py PACKAGE "a red fox" --seed 1 --steps 20 --size 512x512 -o fox.png

Needs `pip install openvino-genai`, and nothing else: the PNG file is written here. `--cancel-after`
shows how an app stops a picture that nobody waits for any more.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

Progress = Callable[[int, int], bool]
"""Takes the step that is done, from 1, and how many there are; returns True to stop."""


LINEAR = ("linear", "scaled_linear")
UNSET = (None, False)
SPACINGS = ("leading", "linspace", "trailing")
PREDICTIONS = ("epsilon", "v_prediction", None)
SCHEDULERS: dict[str, dict[str, tuple[object, ...]]] = {
    "DDIMScheduler": {"beta_schedule": LINEAR, "clip_sample": (False,), "thresholding": UNSET},
    "EulerAncestralDiscreteScheduler": {
        "beta_schedule": (*LINEAR, None),
        "prediction_type": PREDICTIONS,
        "timestep_spacing": SPACINGS,
    },
    "EulerDiscreteScheduler": {
        "beta_schedule": LINEAR,
        "timestep_spacing": SPACINGS,
        "use_beta_sigmas": UNSET,
        "use_exponential_sigmas": UNSET,
        "use_karras_sigmas": UNSET,
    },
    "LCMScheduler": {"beta_schedule": (*LINEAR, None), "prediction_type": ("epsilon", None)},
    "PNDMScheduler": {
        "beta_schedule": (*LINEAR, None),
        "prediction_type": PREDICTIONS,
        "skip_prk_steps": (True,),
    },
}
"""What openvino_genai makes of a `scheduler_config.json`, by class: the values that options may
have. None is one that may be left out: GenAI's default is then that of diffusers."""


class UnsupportedScheduler(Exception):  # noqa: N818 - reads as the sentence that it says
    """The package draws with a scheduler that OpenVINO GenAI does not have, or not so."""


def check_scheduler(package: Path) -> None:
    """Raise UnsupportedScheduler, which names the package's, where GenAI cannot draw with it."""
    config = json.loads((package / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    name = config.get("_class_name")
    if name not in SCHEDULERS:
        raise UnsupportedScheduler(
            f"The package draws with {name}, and OpenVINO GenAI has "
            f"{', '.join(sorted(SCHEDULERS))}. Package the model with one of them: "
            "edgegen package --scheduler."
        )
    for option, allowed in SCHEDULERS[name].items():
        if config.get(option) not in allowed:
            raise UnsupportedScheduler(
                f"The package draws with {name} and {option}={config.get(option)}, and OpenVINO "
                "GenAI refuses that, or draws another picture. Package the model with another: "
                "edgegen package --scheduler."
            )


PIPELINES = frozenset(
    {"LatentConsistencyModelPipeline", "StableDiffusionPipeline", "StableDiffusionXLPipeline"}
)
"""Pipelines of packages that openvino_genai.Text2ImagePipeline draws with."""
AUTOENCODERS = frozenset({"AutoencoderKL"})


class UnsupportedPipeline(Exception):  # noqa: N818 - reads as the sentence that it says
    """OpenVINO GenAI has no pipeline for the package, or not its autoencoder."""


def check_pipeline(package: Path) -> None:
    """Raise UnsupportedPipeline for one that does not draw from a prompt alone."""
    index = json.loads((package / "model_index.json").read_text("utf-8"))
    facts = json.loads((package / "edgegen.json").read_text("utf-8"))["facts"]
    name, autoencoder = index.get("_class_name"), (index.get("vae") or [None, None])[1]
    if name not in PIPELINES or facts.get("takes_picture_prompt", False):
        shown = f"{name} with an IP-Adapter" if name in PIPELINES else name
        raise UnsupportedPipeline(
            f"The package draws as {shown} does, and OpenVINO GenAI draws from a prompt as "
            f"{', '.join(sorted(PIPELINES))}. Draw with edgegen run."
        )
    if autoencoder not in AUTOENCODERS:
        raise UnsupportedPipeline(
            f"The package's autoencoder is an {autoencoder}, and OpenVINO GenAI has "
            f"{', '.join(AUTOENCODERS)}. Draw with edgegen run, or take a model with one of these."
        )


class UnsupportedGuidance(Exception):  # noqa: N818 - reads as the sentence that it says
    """The package guides a part of the steps, and OpenVINO GenAI guides all of them."""


def check_guidance(package: Path) -> None:
    """Raise UnsupportedGuidance for a package that guides a part of the steps."""
    generation = json.loads((package / "edgegen.json").read_text("utf-8"))["generation"]
    start, stop = generation.get("guidance_start", 0), generation.get("guidance_stop", 1)
    if (start, stop) != (0, 1):
        raise UnsupportedGuidance(
            f"The package guides its steps from {start:g} to {stop:g}, and OpenVINO GenAI guides "
            "all of them. Package the model without --guidance-start and --guidance-stop."
        )


class UnsupportedCache(Exception):  # noqa: N818 - reads as the sentence that it says
    """The package keeps features between steps, and OpenVINO GenAI computes each of them whole."""


def check_cache(package: Path) -> None:
    """Raise UnsupportedCache for a package whose denoiser is two graphs."""
    manifest = json.loads((package / "edgegen.json").read_text("utf-8"))
    roles = {component["spec"]["role"] for component in manifest["components"]}
    if "shallow_denoiser" in roles:
        raise UnsupportedCache(
            "The package keeps features between steps, for which its UNet has a second output, and "
            "OpenVINO GenAI takes UNets of one. Package the model without --cache-interval."
        )


class UnsupportedControl(Exception):  # noqa: N818 - reads as the sentence that it says
    """Pictures steer the package, and OpenVINO GenAI has no ControlNet."""


def check_control(package: Path) -> None:
    """Raise UnsupportedControl for a package whose UNet takes what ControlNets compute."""
    facts = json.loads((package / "edgegen.json").read_text("utf-8"))["facts"]
    if facts.get("controls", 0):
        raise UnsupportedControl(
            "The package is steered by pictures, and OpenVINO GenAI has no ControlNet. Draw with "
            "edgegen run, or package the model without --controlnet."
        )


class Cancelled(Exception):  # noqa: N818 - the word that apps know
    """The progress callback asked to stop; there is no image."""


def draw(
    pipeline: Any,
    prompt: str,
    *,
    progress: Progress,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    negative_prompt: str | None = None,
    size: tuple[int, int] | None = None,
) -> Any:
    """Return an image, (height, width, 3) of uint8, from an `openvino_genai.Text2ImagePipeline`.

    What is None is what the package says. The seed is that of `std::mt19937`: the same seed draws
    the same image in C++ with this kit, and another one than `edgegen run` does. Raises Cancelled
    where `progress` returned True.
    """
    asked_to_stop = False

    def callback(step: int, of: int, latent: object) -> bool:
        nonlocal asked_to_stop
        asked_to_stop = progress(step + 1, of)
        return asked_to_stop

    options = {
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "negative_prompt": negative_prompt,
        "width": size and size[0],
        "height": size and size[1],
    }
    given = {key: value for key, value in options.items() if value is not None}
    images = pipeline.generate(prompt, rng_seed=seed, callback=callback, **given)
    if asked_to_stop:
        raise Cancelled
    return images.data[0]


def write_png(path: Path, pixels: Any) -> None:
    """Write (height, width, 3) of uint8 as a PNG file (ISO/IEC 15948)."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            checksum = zlib.crc32(name + data)
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum))


def main() -> int:
    """Draw one image; return 0, 2 where GenAI cannot draw as the package does, 3 if cancelled."""
    options = _options()
    try:
        check_scheduler(options.package)
        check_guidance(options.package)
        check_cache(options.package)
        check_control(options.package)
        check_pipeline(options.package)
    except (
        UnsupportedScheduler,
        UnsupportedGuidance,
        UnsupportedCache,
        UnsupportedControl,
        UnsupportedPipeline,
    ) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    import openvino_genai  # takes a second: --help need not wait

    pipeline = openvino_genai.Text2ImagePipeline(options.package, options.device)

    def progress(step: int, of: int) -> bool:
        sys.stderr.write(f"step {step} of {of}\n")
        return step == options.cancel_after

    try:
        pixels = draw(
            pipeline,
            options.prompt,
            progress=progress,
            seed=options.seed,
            steps=options.steps,
            guidance=options.guidance,
            negative_prompt=options.negative_prompt,
            size=options.size,
        )
    except Cancelled:
        sys.stderr.write("cancelled\n")
        return 3
    write_png(options.output, pixels)
    sys.stdout.write(f"{options.output}\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw an image from an edgegen package.")
    parser.add_argument("package", type=Path, help="folder of `edgegen package --target openvino`")
    parser.add_argument("prompt")
    parser.add_argument("--negative-prompt")
    parser.add_argument("--device", default="CPU", help="CPU, GPU, NPU; default CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--size", type=_size, metavar="WIDTHxHEIGHT")
    parser.add_argument("--cancel-after", type=int, metavar="STEPS")
    parser.add_argument("-o", "--output", type=Path, default=Path("image.png"))
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


if __name__ == "__main__":
    sys.exit(main())
