"""`edgegen run`."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_package
from edgegen.cli.console import Console
from edgegen.cli.formats import format_seconds
from edgegen.cli.on_device import LOCAL, attached, device_option, patience_option

if TYPE_CHECKING:
    from edgegen.core.package import PackageManifest
    from edgegen.core.progress import Progress, Step
    from edgegen.runner.job import GenerateJob
    from edgegen.runner.protocol import Event

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@command(
    examples=(
        'edgegen run scenes/onnx-fp16-storage --prompt "a cat above a dog" -o cat.png',
        'edgegen run my-package --prompt "the same, in winter" --image photo.png --strength 0.6',
        'edgegen run my-package --prompt "a fox" --device ssh://pi@raspberrypi.local',
    ),
    groups={
        "What is drawn": ("prompt", "negative_prompt", "seed", "count", "width", "height"),
        "How": ("steps", "guidance", "guidance_rescale", "eta", "scheduler"),
        "From a picture": ("image", "mask", "strength"),
        "Where": ("device", "patience_s"),
        "The runtime": ("runtime", "provider", "threads", "memory", "residency"),
        "The result": ("output", "as_json"),
    },
    ends_with=("MissingDependencyError", "DeviceError", "RunnerError", "IntegrityError"),
)
@click.argument("package", type=click.Path(path_type=Path), shell_complete=complete_package)
@device_option(LOCAL)
@click.option("--prompt", help="What to draw. Needed, unless the model takes no text.")
@click.option("--negative-prompt", help="What not to draw.")
@click.option("--steps", type=click.IntRange(1), help="Steps of the scheduler.")
@click.option("--guidance", type=float, help="How closely to follow the prompt; 1 is not at all.")
@click.option("--guidance-rescale", type=click.FloatRange(0, 1), help="Against over-exposure.")
@click.option("--eta", type=click.FloatRange(0), help="Noise of each DDIM step; 1 is as in DDPM.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--scheduler", help="ddim, euler, dpmsolver++, … or a diffusers class name.")
@click.option("--count", type=click.IntRange(1), default=1, help="Images; each has the next seed.")
@click.option("--width", type=click.IntRange(1), help="In pixels.")
@click.option("--height", type=click.IntRange(1), help="In pixels.")
@click.option("--image", type=_FILE, help="PNG to start from.")
@click.option("--mask", type=_FILE, help="PNG, white where to draw anew.")
@click.option("--strength", type=click.FloatRange(0, 1), help="How much of the image to redraw.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the runtime.")
@click.option(
    "--runtime",
    metavar="NAME",
    help="What runs it, where its target has several: ai_edge_litert or tflite_runtime.",
)
@click.option(
    "--provider",
    multiple=True,
    help="Execution provider of ONNX Runtime, device of OpenVINO; may be given again.",
)
@click.option(
    "--memory",
    type=click.Choice(["auto", "lean", "fast"]),
    help="Leave weights in the file's mapped pages, or let the runtime copy and repack them; "
    "auto, the default: small components only.",
)
@click.option(
    "--residency",
    type=click.Choice(["all", "sequential"]),
    default="all",
    show_default=True,
    help="Keep all components in memory, or one at a time.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="FILE.png or a folder.")
@patience_option
@click.option("--json", "as_json", is_flag=True, help="Write what was made as JSON.")
@click.pass_obj
def run(
    console: Console,
    /,
    package: Path,
    device: str,
    prompt: str | None,
    seed: int,
    count: int,
    output: Path | None,
    patience_s: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Make images with PACKAGE, without torch, here or on a device.

    The same seed gives the image that diffusers gives. A device gets what it lacks of the package,
    and the images come back.
    """
    from edgegen.core.manifest import load_manifest
    from edgegen.runner.backend_choice import HOST_BACKENDS, Wishes, backend_here
    from edgegen.runner.session import generate

    manifest = load_manifest(package)
    _check_prompt(manifest, prompt)
    folder, names = _places(output, prompt, seed, count)
    wishes = Wishes(
        runtime=options.pop("runtime"),
        providers=options.pop("provider"),
        threads=options.pop("threads"),
        memory=options.pop("memory"),
    )
    backend = backend_here(manifest.target, wishes)  # on a device, its own takes its place
    job = _job(package, folder, names, prompt=prompt, seed=seed, count=count, options=options)
    job = dataclasses.replace(job, backend=backend)
    if device == LOCAL:
        if backend.name in HOST_BACKENDS:
            console.note(
                f"There is no runtime for {manifest.target} here: the reference executor draws the "
                "right image, slowly. Its times say nothing about a device."
            )
        with _Watcher(console, console.progress, count) as watcher:
            images = generate(job, watcher.see)
    else:
        from edgegen.runner.remote import generate_there, push_package

        with attached(device, console.progress, console.note) as there:
            stored = push_package(there, package, console.progress)
            with _Watcher(console, console.progress, count) as watcher:
                images = generate_there(
                    there,
                    stored,
                    job,
                    folder,
                    names,
                    watcher.see,
                    wishes=wishes,
                    patience_s=patience_s,
                )
    if as_json:
        console.json({"images": images})
        return
    for image in images:
        console.print(f"{image.path}  {format_seconds(image.latency_s)}")


def _check_prompt(manifest: PackageManifest, prompt: str | None) -> None:
    from edgegen.core.errors import ConfigError

    if manifest.family == "unconditional" and prompt is not None:
        raise ConfigError(
            f"{manifest.source.model} draws without a prompt.", hint="Leave --prompt out."
        )
    if manifest.family != "unconditional" and not prompt:
        raise ConfigError(f"{manifest.source.model} draws from a prompt.", hint='Add --prompt "…".')


def _job(
    package: Path,
    folder: Path,
    names: tuple[str, ...],
    *,
    prompt: str | None,
    seed: int,
    count: int,
    options: dict[str, Any],
) -> GenerateJob:
    from edgegen.runner.job import GenerateJob, Request, absolute

    residency = options.pop("residency")
    image, mask = absolute(options.pop("image")), absolute(options.pop("mask"))
    return GenerateJob(
        package=str(package.absolute()),
        request=Request(
            prompts=None if prompt is None else (prompt,),
            seed=seed,
            count=count,
            image=image,
            mask=mask,
            **options,
        ),
        output=str(folder.absolute()),
        file_names=names,
        residency=residency,
    )


def _places(
    output: Path | None, prompt: str | None, seed: int, count: int
) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of the images and their names.

    A file that the user named is replaced; a name of ours that is taken gets a number.
    """
    if output is not None and output.suffix.lower() == ".png" and not output.is_dir():
        if count == 1:
            return output.parent, (output.name,)
        return output.parent, tuple(f"{output.stem}-{seed + i}.png" for i in range(count))
    folder = output or Path()
    slug = _slug(prompt or "image")
    return folder, tuple(_free_name(folder, f"{slug}-{seed + i}") for i in range(count))


def _slug(prompt: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in prompt.lower()).split()
    slug = "-".join(words).encode()[:60].decode(errors="ignore").rstrip("-")
    return slug or "image"


def _free_name(folder: Path, stem: str) -> str:
    number, name = 1, f"{stem}.png"
    while (folder / name).exists():
        number += 1
        name = f"{stem}-{number}.png"
    return name


class _Watcher:
    """Shows the runner's events as progress: a bar an image."""

    def __init__(self, console: Console, progress: Progress, count: int) -> None:
        self._console = console
        self._progress = progress
        self._count = count
        self._bars = ExitStack()
        self._step: Step | None = None

    def __enter__(self) -> _Watcher:
        self._start("loading")
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._bars.__exit__(kind, error, trace)

    def see(self, event: Event) -> None:
        """Take the next event."""
        from edgegen.runner.protocol import ImageEnd, ImageStart, Load, Phase, Step, Warn

        match event:
            case Load():
                self._describe(f"{event.component} loaded")
            case ImageStart():
                of = f" of {self._count}" if self._count > 1 else ""
                self._start(f"image {event.index + 1}{of}")
            case Phase(name="text_encoder"):
                self._describe("denoising")
            case Step():
                self._advance(event.of)
            case Phase(name="denoise"):
                self._describe("decoding")
            case ImageEnd():
                self._bars.close()
                self._step = None
            case Warn():
                self._console.warn(event.message)

    def _start(self, name: str) -> None:
        self._bars.close()
        self._step = self._bars.enter_context(self._progress.step(name, unit="steps"))

    def _describe(self, text: str) -> None:
        if self._step is not None:
            self._step.describe(text)

    def _advance(self, total: int) -> None:
        if self._step is not None:
            self._step.total = total
            self._step.advance()
