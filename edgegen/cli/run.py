"""`edgegen run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from edgegen_runner.request import RESIDENCIES, STRONGEST_CONTROL, SYNTAXES
from edgegen_runner.scheduler_names import SHORT_NAMES

from edgegen.cli.command import command
from edgegen.cli.completion import complete_package
from edgegen.cli.console import Console
from edgegen.cli.image_files import ImageFiles, image_files
from edgegen.cli.limit_options import limit_options, take_limits
from edgegen.cli.main import RUNNER_AHEAD
from edgegen.cli.numbers import NUMBER, NumberRange
from edgegen.cli.on_device import LOCAL, attached, device_option, patience_option, root_option
from edgegen.cli.on_package import check_package, chip_of, chip_option, verify_option
from edgegen.cli.run_choices import Choose, Within, chooser
from edgegen.cli.shared_options import (
    arithmetic_option,
    cache_interval_option,
    guidance_part_options,
    lora_input_option,
    runtime_profile_option,
)
from edgegen.cli.text import TEXT
from edgegen.core.units import format_duration
from edgegen.runner.runtimes import listed_choices

if TYPE_CHECKING:
    from edgegen.core.package import PackageManifest
    from edgegen.core.profile import DeviceProfile
    from edgegen.core.progress import Progress, Step
    from edgegen.runner.backend_choice import Wishes
    from edgegen.runner.job import GenerateJob
    from edgegen.runner.protocol import Event
    from edgegen.runner.session import ImageResult

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@command(
    examples=(
        'edgegen run scenes/onnx-fp16-storage --prompt "a cat above a dog" -o cat.png',
        'edgegen run my-package --prompt "the same, in winter" --image photo.png --strength 0.6',
        'edgegen run my-package --prompt "a house" --control edges.png --control-scale 0.8',
        'edgegen run my-package --prompt "a fox" --device ssh://pi@raspberrypi.local',
    ),
    groups={
        "What is drawn": (
            *("prompt", "negative_prompt", "class_label", "seed", "count", "width", "height"),
        ),
        "How prompts are read": ("prompt_syntax", "clip_skip"),
        "How": (
            *("steps", "guidance", "guidance_start", "guidance_stop", "guidance_rescale"),
            *("cache_interval", "eta", "scheduler", "loras"),
        ),
        "From a picture": ("image", "mask", "depth", "strength", "image_guidance", "noise_level"),
        "As a part of the prompt": ("ip_image",),
        "Steered by pictures": (
            *("control", "control_scale", "control_start", "control_end", "guess_mode"),
        ),
        "Where": ("device", "patience_s"),
        "The runtime": (
            *("profile", "runtime", "provider", "threads", "arithmetic"),
            *("memory", "residency", "max_memory", "chip"),
        ),
        "The package": ("verify",),
        "The result": ("output", "as_json"),
    },
    ends_with=("MissingDependencyError", "DeviceError", "RunnerError", "IntegrityError"),
)
@click.argument("package", type=click.Path(path_type=Path), shell_complete=complete_package)
@device_option(LOCAL)
@root_option
@click.option(
    "--prompt", type=TEXT, help='What to draw; "" is a prompt, too. Not for models without text.'
)
@click.option("--negative-prompt", type=TEXT, help="What not to draw.")
@click.option(
    "--class-label",
    type=click.IntRange(0, 1 << 24),
    help="Class of image, counted from 0, of a model that draws classes.",
)
@click.option(
    "--prompt-syntax",
    type=click.Choice(SYNTAXES),
    help="plain, the default: as it stands. a1111: (fox:1.3), [fox], BREAK, and any length. "
    "compel: fox++, (red fox)1.3, .and().",
)
@click.option(
    "--clip-skip",
    type=click.IntRange(0, 1_000),
    help="CLIP's last layers to leave out, as diffusers counts them; A1111 counts one more.",
)
@click.option("--steps", type=click.IntRange(1, 10_000), help="Steps of the scheduler.")
@click.option("--guidance", type=NUMBER, help="How closely to follow the prompt; 1 is not at all.")
@guidance_part_options
@cache_interval_option
@click.option("--guidance-rescale", type=NumberRange(0, 1), help="Against over-exposure.")
@click.option(
    "--eta",
    type=NumberRange(0),
    help="Noise of each DDIM step, 1 is as in DDPM; TCD's gamma, at most 1.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--scheduler", help=f"{', '.join(SHORT_NAMES)}, or a diffusers class name.")
@lora_input_option
@click.option(
    "--count", type=click.IntRange(1, 10_000), default=1, help="Images; each has the next seed."
)
@click.option("--width", type=click.IntRange(1, 16_384), help="In pixels.")
@click.option("--height", type=click.IntRange(1, 16_384), help="In pixels.")
@click.option("--image", type=_FILE, help="Picture to start from: PNG, JPEG, WebP, …")
@click.option("--mask", type=_FILE, help="Mask, white where to draw anew.")
@click.option("--depth", type=_FILE, help="PNG with the picture's depth, near is white.")
@click.option("--strength", type=NumberRange(0, 1), help="How much of the image to redraw.")
@click.option(
    "--ip-image", type=_FILE, help="Picture as a part of the prompt, of a package with IP-Adapter."
)
@click.option(
    "--control",
    type=_FILE,
    multiple=True,
    help="Picture that steers it: edges, a pose, a depth; once for each ControlNet.",
)
@click.option(
    "--control-scale",
    type=NumberRange(-STRONGEST_CONTROL, STRONGEST_CONTROL),
    multiple=True,
    help="How strongly, 1 is as it was trained; once for all, or once for each.",
)
@click.option(
    "--control-start",
    type=NumberRange(0, 1),
    multiple=True,
    help="Begin to steer after this part of the steps.",
)
@click.option(
    "--control-end",
    type=NumberRange(0, 1),
    multiple=True,
    help="Steer this part of the steps, 0 to 1.",
)
@click.option(
    "--guess-mode",
    is_flag=True,
    help="Let ControlNets see what the picture shows, whatever the prompt says.",
)
@click.option(
    "--image-guidance",
    "--image-guidance-scale",
    "image_guidance",
    type=NumberRange(1),
    help="How closely to keep to a picture that is edited.",
)
@click.option(
    "--noise-level",
    type=click.IntRange(0, 100_000),
    help="Noise that is added to a picture before it is enlarged.",
)
@runtime_profile_option
@click.option("--threads", type=click.IntRange(1, 1_024), help="Threads of the runtime.")
@click.option(
    "--runtime",
    metavar="NAME",
    help=f"What runs it, where its target has several: {listed_choices()}.",
)
@click.option(
    "--provider",
    multiple=True,
    help="Execution provider of ONNX Runtime, device of OpenVINO; may be given again.",
)
@arithmetic_option
@click.option(
    "--memory",
    type=click.Choice(["auto", "lean", "fast"]),
    help="Leave weights in the file's mapped pages, or let the runtime copy and repack them; "
    "auto, the default: small components only.",
)
@click.option(
    "--residency",
    type=click.Choice(RESIDENCIES),
    default="all",
    show_default=True,
    help="Keep all components in memory, those that draw, or one at a time.",
)
@limit_options(("memory",))
@chip_option
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="FILE.png, or a folder; several images of one FILE get their seeds as names.",
)
@verify_option
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
    verify: bool,
    patience_s: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Make images with PACKAGE, without torch, here or on a device.

    A package that was changed since it was built is refused. The same seed gives the image that
    diffusers gives. A device gets what it lacks of the package,
    and the images come back.
    """
    from edgegen.core.manifest import load_manifest
    from edgegen.runner.backend_choice import Wishes, backend_here, profile_limit_bytes
    from edgegen.runner.job import GenerateJob, Request, absolute
    from edgegen.runner.pictures import readable_pictures
    from edgegen.runner.session import generate as generate_here

    limit_bytes = next((int(limit.value) for limit in take_limits(options, ("memory",))), None)
    manifest = load_manifest(package)
    _check_prompt(manifest, prompt)
    _check_guidance(manifest, options)
    _check_cache(manifest, options["cache_interval"], options["steps"])
    _check_pictures(manifest, options)
    _check_class(manifest, options["class_label"])
    image, mask, depth = (options.pop(name) for name in ("image", "mask", "depth"))
    control, shown = options.pop("control"), options.pop("ip_image")
    _check_picture_prompt(manifest, shown)
    lora = _lora_for(manifest, options.pop("loras"))
    files = image_files(output, prompt, seed, count)
    files.check(console, image, mask, depth, shown, *control)
    check_package(console, package, manifest, device, verify=verify)
    optimized = _optimized(package) if device == LOCAL else None
    arithmetic = options.pop("arithmetic")
    profile = _profile(options.pop("profile"))
    wishes = Wishes(
        profile=profile,
        arithmetic=None if arithmetic == "auto" else arithmetic,
        runtime=options.pop("runtime"),
        providers=options.pop("provider"),
        threads=options.pop("threads"),
        memory=options.pop("memory"),
        chip=chip_of(manifest, options.pop("chip"), profile),
    )
    for name in ("control_scale", "control_start", "control_end"):
        options[name] = options[name] or None
    with readable_pictures(image, mask, shown, *control) as readable:
        picture, readable_mask, picture_prompt, *controls = readable
        job = GenerateJob(
            package=str(package.absolute()),
            residency=options.pop("residency"),
            request=Request(
                prompts=None if prompt is None else (prompt,),
                seed=seed,
                count=count,
                image=absolute(picture),
                mask=absolute(readable_mask),
                picture_prompt=absolute(picture_prompt),
                control=tuple(str(it.absolute()) for it in controls if it is not None) or None,
                lora=absolute(lora),
                depth=absolute(depth),
                **options,
            ),
            output=str(files.folder.absolute()),
            file_names=files.names,
            # On a device, its own takes its place.
            backend=replace(backend_here(manifest.runs_as, wishes), optimized=optimized),
        )
        choose = chooser(console, manifest, job, patience_s) if arithmetic == "auto" else None
        if device == LOCAL:
            if choose is not None:
                chosen = choose(job.package, job.backend, None)
                job = replace(job, backend=replace(job.backend, arithmetic=chosen))
            limit_bytes = limit_bytes or profile_limit_bytes(profile, manifest.runs_as)
            within = Within(console, manifest, job, limit_bytes) if limit_bytes else None
            if within is not None:
                job = within.planned(job, generate_here)
            images = _draw_here(console, job, manifest)
        else:
            there = _There(device=device, wishes=wishes, patience_s=patience_s)
            images, within = _draw_there(console, job, manifest, files, there, choose, limit_bytes)
    if within is not None:
        within.tell(images)
    if as_json:
        console.json({"images": images})
        return
    for image in images:
        computed = f"  {image.arithmetic}" if arithmetic is not None else ""
        console.print(f"{image.path}  {format_duration(image.latency_s)}{computed}")


def _profile(name: str | None) -> DeviceProfile | None:
    if name is None:
        return None  # what reads profiles takes a while to import
    from edgegen.devices.profiles import load_profile

    return load_profile(name)


def _optimized(package: Path) -> str | None:
    """Return where the runtime keeps what it makes of the package's graphs."""
    from edgegen.packaging.integrity import manifest_sha256
    from edgegen.runner.optimized import optimized_folder

    folder = optimized_folder(manifest_sha256(package))
    return None if folder is None else str(folder.absolute())


def _lora_for(manifest: PackageManifest, loras: Sequence[str]) -> Path | None:
    """Return the file of LoRAs that the runner reads; it is removed when the command ends."""
    if not loras:
        return None  # what reads LoRAs takes a while to import
    from edgegen.packaging.lora_file import lora_for

    return click.get_current_context().with_resource(lora_for(manifest, loras))


def _check_prompt(manifest: PackageManifest, prompt: str | None) -> None:
    from edgegen.core.errors import ConfigError

    takes_text = manifest.facts.takes_text
    if prompt is not None and not takes_text:
        raise ConfigError(
            f"{manifest.source.model} draws without a prompt.", hint="Leave --prompt out."
        )
    if prompt is None and takes_text:
        raise ConfigError(f"{manifest.source.model} draws from a prompt.", hint='Add --prompt "…".')


def _check_pictures(manifest: PackageManifest, options: Mapping[str, Any]) -> None:
    """Raise ConfigError where the package draws from pictures that are not given."""
    from edgegen_runner.generation import PICTURES

    from edgegen.core.errors import ConfigError

    if not manifest.facts.needs_picture:
        return
    wanted = PICTURES[manifest.facts.starts[0]]
    missing = [f"--{name}" for name in wanted if options[name] is None]
    if missing:
        raise ConfigError(
            f"{manifest.source.model} ({manifest.family}) draws from a given "
            f"{' and '.join(wanted)}.",
            hint=f"Add {' and '.join(f'{option} FILE' for option in missing)}.",
        )


def _check_class(manifest: PackageManifest, label: int | None) -> None:
    from edgegen.core.errors import ConfigError

    classes = manifest.generation.classes
    if classes is None and label is not None:
        raise ConfigError(
            f"{manifest.source.model} ({manifest.family}) takes no class of images.",
            hint="Leave --class-label out.",
        )
    if classes is not None and (label is None or label >= classes):
        raise ConfigError(
            f"{manifest.source.model} draws images of {classes} classes.",
            hint=f"Add --class-label 0 to {classes - 1}.",
        )


def _check_picture_prompt(manifest: PackageManifest, picture: Path | None) -> None:
    from edgegen.core.errors import ConfigError

    takes = manifest.facts.takes_picture_prompt
    if picture is not None and not takes:
        raise ConfigError(
            f"{manifest.source.model} takes no picture as a part of the prompt.",
            hint="Leave --ip-image out, or package the model with --ip-adapter.",
        )
    if picture is None and takes:
        raise ConfigError(
            f"{manifest.source.model} was packaged with an IP-Adapter, which wants a picture.",
            hint="Add --ip-image PICTURE.",
        )


def _check_guidance(manifest: PackageManifest, options: Mapping[str, Any]) -> None:
    """Raise ConfigError for a part of the steps that is none, or that gains nothing."""
    start, stop = options["guidance_start"], options["guidance_stop"]
    if start is None and stop is None:
        return
    from edgegen.packaging.drawing import guided_in_part

    drawn = manifest.generation
    for name in ("steps", "guidance"):
        if options[name] is not None:
            drawn = replace(drawn, **{name: options[name]})
    guided_in_part(manifest.facts, drawn, start, stop)


def _check_cache(manifest: PackageManifest, interval: int | None, steps: int | None) -> None:
    """Raise ConfigError for an interval that the package or so many steps have no use for."""
    if interval is None:
        return
    from edgegen.packaging.drawing import cached_for, require_cache

    require_cache(manifest, interval)
    own = manifest.generation
    cached_for(own if steps is None else replace(own, steps=steps), interval)


def _draw_here(console: Console, job: GenerateJob, manifest: PackageManifest) -> list[ImageResult]:
    from edgegen.runner.runtimes import emulated_here, is_for_devices
    from edgegen.runner.session import generate

    if not is_for_devices(job.backend.name):
        console.note(
            f"There is no runtime for {manifest.target} here: the reference executor draws the "
            "right image, slowly. Its times say nothing about a device."
        )
    if manifest.compiled and emulated_here(manifest.runs_as):
        chip = job.backend.chip or manifest.compiled[0].chip
        console.note(
            f"The NPU of {chip} is emulated here: the right image, slowly. Its times say nothing "
            "about a device."
        )
    with _Watcher(console, console.progress, job.request.count) as watcher:
        ahead = click.get_current_context().meta.get(RUNNER_AHEAD)
        return generate(job, watcher.see, ahead=ahead)


@dataclass(frozen=True, slots=True, kw_only=True)
class _There:
    """A device that draws, and how."""

    device: str
    wishes: Wishes
    patience_s: float


def _draw_there(
    console: Console,
    job: GenerateJob,
    manifest: PackageManifest,
    files: ImageFiles,
    where: _There,
    choose: Choose | None,
    limit_bytes: int | None,
) -> tuple[list[ImageResult], Within | None]:
    from edgegen.core.scratch import ScratchFolder
    from edgegen.runner.backend_choice import choose_backend, memory_limit_bytes
    from edgegen.runner.remote import generate_there, push_package

    wishes, patience_s = where.wishes, where.patience_s
    with attached(where.device, console.progress, console.note) as there:
        stored = push_package(there, Path(job.package), console.progress, wishes)
        if choose is not None:
            backend = choose_backend(there, stored.target, wishes)
            wishes = replace(wishes, arithmetic=choose(stored.path, backend, there))
        job = replace(job, backend=choose_backend(there, stored.target, wishes))
        limit_bytes = limit_bytes or memory_limit_bytes(there, stored.target, wishes)
        within = Within(console, manifest, job, limit_bytes) if limit_bytes else None
        if within is not None:
            with ScratchFolder("memory") as scratch:
                job = within.planned(
                    job,
                    lambda trial: generate_there(
                        there,
                        stored,
                        trial,
                        scratch,
                        ("trial.png",),
                        wishes=replace(wishes, memory=trial.backend.memory),
                        patience_s=patience_s,
                    ),
                    there.address,
                )
            wishes = replace(wishes, memory=job.backend.memory)
        with _Watcher(console, console.progress, job.request.count) as watcher:
            images = generate_there(
                there,
                stored,
                job,
                files.folder,
                files.names,
                watcher.see,
                wishes=wishes,
                patience_s=patience_s,
            )
    return images, within


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
