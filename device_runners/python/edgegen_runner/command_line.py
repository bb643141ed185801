"""The runner by hand, without a host: ``python edgegen-runner.pyz --package DIR --prompt "…"``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .arithmetic import ARITHMETICS
from .backends import BackendOptions, backend_for, open_backend
from .errors import RunnerFailure
from .job import GenerateJob
from .package import load_package
from .request import RESIDENCIES, STRONGEST_CONTROL, SYNTAXES, Request
from .runtimes import RUNTIMES
from .session import generate


def main(arguments: Sequence[str]) -> int:
    """Parse a command line, make the images, and return the exit code."""
    options = _parser().parse_args(arguments)
    output = Path(options.output)
    single = output.suffix.lower() == ".png" and options.count == 1
    try:
        job = GenerateJob(
            package=options.package,
            request=Request(
                prompts=None if options.prompt is None else (options.prompt,),
                negative_prompt=options.negative_prompt,
                steps=options.steps,
                guidance=options.guidance,
                guidance_start=options.guidance_start,
                guidance_stop=options.guidance_stop,
                cache_interval=options.cache_interval,
                guidance_rescale=options.guidance_rescale,
                eta=options.eta,
                scheduler=options.scheduler,
                seed=options.seed,
                count=options.count,
                width=options.width,
                height=options.height,
                image=options.image,
                mask=options.mask,
                depth=options.depth,
                strength=options.strength,
                image_guidance=options.image_guidance,
                noise_level=options.noise_level,
                class_label=options.class_label,
                prompt_syntax=options.prompt_syntax,
                clip_skip=options.clip_skip,
                control=tuple(options.control) or None,
                control_scale=tuple(options.control_scale) or None,
                control_start=tuple(options.control_start) or None,
                control_end=tuple(options.control_end) or None,
                guess_mode=options.guess_mode,
                picture_prompt=options.ip_image,
            ),
            output=output.parent if single else output,
            file_names=(output.name,) if single else None,
            residency=options.residency,
            backend=BackendOptions(
                name=options.runtime or backend_for(load_package(options.package).target),
                providers=tuple(options.provider),
                threads=options.threads,
                memory=options.memory,
                arithmetic=options.arithmetic,
            ),
        )
        generate(job, open_backend(job.backend), _Printer(options.count))
    except RunnerFailure as failure:
        print(f"error: {failure.message}", file=sys.stderr)  # noqa: T201 - this is its command line
        if failure.hint:
            print(f"hint: {failure.hint}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


class _Printer:
    """Print events as plain lines on standard error, and the images' paths on standard output."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __call__(self, event: str, **fields: Any) -> None:
        if event == "load":
            self._say(f"{fields['component']} loaded in {fields['end'] - fields['start']:.1f} s")
        elif event == "step":
            took_s = fields["end"] - fields["start"]
            left_s = took_s * (fields["of"] - fields["index"] - 1)
            self._say(
                f"image {fields['image'] + 1} of {self._count}: "
                f"step {fields['index'] + 1} of {fields['of']}, {took_s:.2f} s, {left_s:.0f} s left"
            )
        elif event == "warning":
            self._say(f"warning: {fields['message']}")
        elif event == "image_end":
            self._say(f"image {fields['image'] + 1} took {fields['end'] - fields['start']:.1f} s")
            print(fields["path"], flush=True)  # noqa: T201 - this is its command line

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is its command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgegen-runner",
        description="Make images with a package. Without arguments: take a job from a host.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--package", type=Path, required=True, help="folder with edgegen.json")
    parser.add_argument("--prompt")
    parser.add_argument("--negative-prompt")
    parser.add_argument("--steps", type=_positive)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--guidance-start", type=_share, help="part of the steps, 0 to 1")
    parser.add_argument("--guidance-stop", type=_share)
    parser.add_argument("--cache-interval", type=_positive, help="calls to one of all layers")
    parser.add_argument("--guidance-rescale", type=float, default=0.0)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scheduler", help="ddim, euler, dpmsolver++, … or a diffusers class")
    parser.add_argument("--count", type=_positive, default=1)
    parser.add_argument("--width", type=_positive)
    parser.add_argument("--height", type=_positive)
    parser.add_argument("--image", type=Path, help="PNG to start from")
    parser.add_argument("--mask", type=Path, help="PNG, white where to draw anew")
    parser.add_argument("--depth", type=Path, help="PNG with the picture's depth, near is white")
    parser.add_argument("--strength", type=float)
    parser.add_argument("--image-guidance", type=float, help="how closely to keep to the picture")
    parser.add_argument("--noise-level", type=int, help="noise added to a picture to enlarge")
    parser.add_argument("--class-label", type=int, help="class of image, counted from 0")
    parser.add_argument(
        "--prompt-syntax", choices=SYNTAXES, help="a1111: (fox:1.3), BREAK; compel: fox++"
    )
    parser.add_argument("--clip-skip", type=_positive, help="CLIP's last layers to leave out")
    again: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("--control", type=Path, **again, help="PNG that steers it; once for each")
    parser.add_argument("--control-scale", type=_scale, **again, help="1: as it was trained")
    parser.add_argument("--control-start", type=_share, **again, help="part of the steps, 0 to 1")
    parser.add_argument("--control-end", type=_share, **again)
    parser.add_argument("--guess-mode", action="store_true")
    parser.add_argument("--ip-image", type=Path, help="PNG as a part of the prompt (IP-Adapter)")
    names = [runtime.name for runtime in RUNTIMES]
    parser.add_argument("--runtime", choices=names, help="default: what is installed")
    parser.add_argument("--threads", type=_positive)
    parser.add_argument("--provider", action="append", default=[], help="may be given again")
    parser.add_argument("--memory", choices=("auto", "lean", "fast"), default="auto")
    parser.add_argument("--arithmetic", choices=ARITHMETICS, help="default: the recipe's")
    parser.add_argument("--residency", choices=RESIDENCIES, default="all")
    parser.add_argument("-o", "--output", default=".", help="FILE.png or a folder")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def _scale(text: str) -> float:
    value = float(text)
    if not abs(value) <= STRONGEST_CONTROL:
        raise argparse.ArgumentTypeError(f"{text} is not between ±{STRONGEST_CONTROL:g}")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
