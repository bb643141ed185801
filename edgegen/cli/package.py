"""`edgegen package`: build a package of a model for one or more targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.command import command
from edgegen.cli.completion import (
    complete_model,
    complete_profile,
    complete_target,
    known_models,
    known_profiles,
    known_targets,
)
from edgegen.cli.console import Console
from edgegen.cli.limit_options import limit_options, parameters, quality_limits, take_limits
from edgegen.cli.numbers import NUMBER
from edgegen.cli.package_tables import (
    add_picture,
    distance,
    failed_row,
    package_row,
    picture_path,
    plan_row,
    show_app_facts,
    show_package,
    show_packages,
    show_plan,
)
from edgegen.cli.shared_options import (
    PIXELS,
    READING,
    adapter_options,
    cache_interval_option,
    guidance_part_options,
    height_option,
    offline_option,
    reading_options,
    recipe_option,
    revision_option,
    take_reading,
    variant_option,
    width_option,
)
from edgegen.cli.text import TEXT
from edgegen.core.errors import ConfigError, EdgegenError
from edgegen.core.units import format_bytes

if TYPE_CHECKING:
    from edgegen.cli.package_quality import QualityGate
    from edgegen.core.profile import CompilerEffort, Shapes
    from edgegen.packaging.batch import Batch
    from edgegen.packaging.candidate import Npu
    from edgegen.packaging.plan import BuildPlan
    from edgegen.parity.side_by_side import SideBySide


_LIMITS = quality_limits()


@command(
    examples=(
        "edgegen package builtin:scenes -t onnx",
        "edgegen package ./my-model -p iphone-15-pro -o out",
        "edgegen package model.safetensors -t onnx --vae vae.safetensors",
        "edgegen package ORG/NAME -t onnx:fp16-storage -t tflite:int8-dynamic -o out",
        "edgegen package builtin:scenes -t coreml --target-size 12MB",
        "edgegen package ORG/NAME -t onnx --lora watercolour.safetensors:0.8",
    ),
    groups={
        "What is built": (
            *("targets", "recipes", "target_size", "profile", "width", "height"),
            *("shapes", "part_size", "npu", "chips", "compiler_effort", "allow_processor"),
        ),
        "What it draws with": (
            *("scheduler", "scheduler_options", "steps", "guidance"),
            *("guidance_start", "guidance_stop", "cache_interval", "decode_tile"),
        ),
        "The model": (
            *("loras", "embeddings", "lora_as_input", "ip_adapter", "image_encoder"),
            *("variant", "revision", "offline", *READING),
        ),
        "The result": ("output", "force", "dry_run", "as_json"),
        "The comparison with torch": (
            "skip_parity",
            "accept_failed_parity",
            "prompt",
            "no_picture",
        ),
        "Its quality": ("with_quality", *parameters(_LIMITS)),
    },
    values={"MODEL": known_models, "--target": known_targets, "--profile": known_profiles},
    ends_with=(
        "MissingDependencyError",
        "ExportError",
        "RunnerError",
        "SourceError",
        "ResourceError",
    ),
)
@click.argument("model", shell_complete=complete_model)
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    metavar="TARGET[:RECIPE]",
    shell_complete=complete_target,
    help="Package format; repeatable. Default: those of the profile's runtimes.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the package goes; without it, to NAME/<target>-<recipe>.",
)
@click.option(
    "-p",
    "--profile",
    shell_complete=complete_profile,
    help="Device profile: `edgegen profiles` lists them.",
)
@recipe_option
@click.option(
    "--target-size",
    metavar="SIZE",
    help="The best mix of storages in a package of that size: 300MB; as --recipe mixed-300MB.",
)
@width_option
@height_option
@click.option(
    "--shapes",
    type=click.Choice(["dynamic", "fixed"]),
    help="Graphs for any size and batch, or for one: OpenVINO is faster with fixed ones. "
    "Default: the profile's, or the target's.",
)
@click.option("--npu", is_flag=True, help="Compile for the NPU of the profile's chip; ONNX only.")
@click.option(
    "--chip",
    "chips",
    multiple=True,
    metavar="NAME",
    help="Compile for the NPU of this chip: snapdragon-8-elite; repeatable, for one package.",
)
@click.option(
    "--part-size",
    "--context-size",
    "part_size",
    metavar="SIZE",
    help="Cut graphs with more weights into parts of at most so many: 300MB. TFLite runs them in "
    "less memory (--residency parts); with --npu they are contexts, 1.5GB unless told, of which "
    "smaller ones take less memory to compile.",
)
@click.option(
    "--compiler-effort",
    type=click.IntRange(1, 3),
    help="With --npu, how hard Qualcomm's compiler tries: 3, the default, is what its maker calls "
    "the best graph; 1 takes less than half the time.",
)
@click.option(
    "--allow-processor",
    is_flag=True,
    help="With --npu, leave what the NPU doesn't take to the processor; else that is an error.",
)
@click.option(
    "--scheduler",
    help="What it draws with unless told: ddim, euler, dpmsolver++, … or a diffusers class name; "
    "default: the model's own.",
)
@click.option(
    "--scheduler-option",
    "scheduler_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the scheduler: timestep_spacing=trailing; repeatable.",
)
@click.option(
    "--steps", type=click.IntRange(1), help="Steps that it draws in; default: the scheduler's."
)
@click.option(
    "--guidance", type=NUMBER, help="Guidance scale that it draws with; default: the pipeline's."
)
@guidance_part_options
@cache_interval_option
@click.option(
    "--decode-tile",
    type=PIXELS,
    help="Decode the picture in tiles of so many pixels a side, for less memory.",
)
@adapter_options
@click.option(
    "--lora-as-input",
    is_flag=True,
    help="Let layers take a LoRA at run time, `edgegen run --lora FILE`; of ONNX packages.",
)
@revision_option
@variant_option
@offline_option
@reading_options
@click.option("--force", is_flag=True, help="Replace a package that is there already.")
@click.option("--skip-parity", is_flag=True, help="Do not compare with torch; no golden case.")
@click.option("--accept-failed-parity", is_flag=True, help="Keep a package that fails, marked so.")
@click.option(
    "--prompt",
    type=TEXT,
    help="What the picture beside several packages shows, in torch and from each.",
)
@click.option("--no-picture", is_flag=True, help="Draw no picture beside several packages.")
@click.option(
    "--evaluate",
    "with_quality",
    is_flag=True,
    help="Keep only what draws as its recipe promises, of what the model knows; see `evaluate`.",
)
@limit_options(_LIMITS)
@click.option("--dry-run", is_flag=True, help="Say what would be built, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
@click.pass_obj
def package(
    console: Console,
    /,
    model: str,
    targets: tuple[str, ...],
    output: Path | None,
    profile: str | None,
    recipes: tuple[str, ...],
    target_size: str | None,
    width: int | None,
    height: int | None,
    scheduler: str | None,
    scheduler_options: tuple[str, ...],
    steps: int | None,
    guidance: float | None,
    guidance_start: float | None,
    guidance_stop: float | None,
    cache_interval: int | None,
    decode_tile: int | None,
    loras: tuple[str, ...],
    embeddings: tuple[str, ...],
    lora_as_input: bool,
    npu: bool,
    chips: tuple[str, ...],
    shapes: Shapes | None,
    part_size: str | None,
    compiler_effort: CompilerEffort | None,
    allow_processor: bool,
    ip_adapter: str | None,
    image_encoder: str | None,
    revision: str | None,
    variant: str | None,
    offline: bool,
    force: bool,
    skip_parity: bool,
    accept_failed_parity: bool,
    prompt: str | None,
    no_picture: bool,
    with_quality: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Build a package of MODEL that a device runs.

    MODEL is `builtin:scenes`, a folder in diffusers' layout, a checkpoint in one file
    (model.safetensors), or a hub id `ORG/NAME[@REVISION]`, also as the address of its page.
    Several targets or recipes go to DIR/<target>-<recipe>/, and DIR/compare.png shows what each of
    the packages draws beside torch's picture, with the PSNR. What they have in common is done once,
    and a package that fails leaves the others as they are. The recipe `mixed-4.5` stores each layer
    in what serves the pictures best at 4.5 bits a weight on average, `mixed-300MB` in a package of
    that size (`edgegen sensitivity`). With a limit on quality, or --evaluate,
    each package draws what the model knows, and one that breaks a limit isn't kept.
    """
    from edgegen.cli.package_quality import QualityGate
    from edgegen.devices.profiles import load_profile
    from edgegen.models.adapters.adapted_folder import with_adapters
    from edgegen.models.adapters.image_prompt import image_prompt_choice
    from edgegen.models.source import resolve
    from edgegen.packaging.batch import build_all
    from edgegen.packaging.drawing import parse_scheduler_options
    from edgegen.packaging.mixed import describe, mix_wanted, of_size
    from edgegen.packaging.model_facts import read_facts
    from edgegen.packaging.plan import plan_packages
    from edgegen.packaging.wanted import wanted_packages

    asked, reading = take_limits(options, _LIMITS), take_reading(options)
    device = None if profile is None else load_profile(profile)
    part_bytes = _part_bytes(part_size)
    compiled = _npu(npu, chips, compiler_effort, allow_processor)
    if compiled is not None and not targets:
        targets = ("onnx",)
    if target_size is not None:
        recipes = (of_size(target_size, targets, recipes),)
    wanted = wanted_packages(targets, recipes, device)
    several = len(wanted) > 1
    draws = several and not skip_parity and not no_picture
    if prompt is not None and not draws:
        raise ConfigError(
            "--prompt is for the picture that is drawn of several packages and of torch.",
            hint="Give more than one --target or --recipe, without --skip-parity and --no-picture.",
        )
    folder = resolve(
        model,
        revision=revision,
        variant=variant,
        offline=offline,
        reading=reading,
        progress=console.progress,
    )
    prompt_by = image_prompt_choice(ip_adapter, image_encoder)
    folder = with_adapters(
        folder, loras, embeddings, prompt_by, offline=offline, progress=console.progress
    )
    in_folders = several or output is None
    base = output or Path(folder.name)
    facts = read_facts(
        folder,
        scheduler=scheduler,
        scheduler_options=parse_scheduler_options(scheduler_options),
        steps=steps,
        guidance=guidance,
        guidance_start=guidance_start,
        guidance_stop=guidance_stop,
        cache_interval=cache_interval,
        decode_tile=decode_tile,
    )
    facts, wanted, mixes = mix_wanted(
        facts, wanted, profile=device, width=width, height=height, progress=console.progress
    )
    for mixed in mixes:
        console.note(describe(mixed))
    plans = plan_packages(
        facts,
        wanted,
        base,
        profile=device,
        width=width,
        height=height,
        force=force,
        in_folders=in_folders,
        one_picture=not (skip_parity or no_picture),
        lora_as_input=lora_as_input,
        npu=compiled,
        part_bytes=part_bytes,
        shapes=shapes,
    )
    for planned in plans:
        for warning in planned.warnings:
            console.warn(warning)
    quality = QualityGate(folder, asked, console.progress) if asked or with_quality else None
    if quality is not None:
        quality.check_before(plans)
    if dry_run:
        total_bytes = sum(planned.prediction.package_bytes for planned in plans)
        if as_json:
            console.json(
                {"plans": [plan_row(planned) for planned in plans], "predicted_bytes": total_bytes}
            )
        else:
            for planned in plans:
                show_plan(console, planned)
            if several:
                console.print(f"{len(plans)} packages: {format_bytes(total_bytes)}, about.")
        return 0
    batch = build_all(
        plans,
        parity=not skip_parity,
        accept_failure=accept_failed_parity,
        picture=draws,
        prompt=prompt,
        accept=None if quality is None else quality.accept,
        progress=console.progress,
    )
    if quality is not None and not as_json:
        quality.show(console)
    return _show(console, plans, batch, quality, as_json=as_json)


def _part_bytes(text: str | None) -> int | None:
    from edgegen.core.limit_text import parse_quantity

    if text is None:
        return None
    part_bytes = int(parse_quantity("--part-size", "bytes", text))
    if part_bytes <= 0:
        raise ConfigError(
            f"--part-size is {text.strip()}, and a part has weights.",
            hint="Write --part-size 500MB.",
        )
    return part_bytes


def _npu(
    npu: bool,
    chips: tuple[str, ...],
    effort: CompilerEffort | None,
    allow_processor: bool,
) -> Npu | None:
    """Return the chips to compile for; raise what is wrong with that before the model is read."""
    from edgegen.core.chips import load_chip
    from edgegen.packaging.candidate import Npu

    if not npu and not chips:
        for option, given in (
            ("--allow-processor", allow_processor),
            ("--compiler-effort", effort is not None),
        ):
            if given:
                raise ConfigError(
                    f"{option} is for packages that are compiled for an NPU.",
                    hint="Add --npu, or leave it out.",
                )
        return None
    for chip in chips:
        load_chip(chip)
    return Npu(
        chips=chips,
        allow_processor=allow_processor,
        effort=effort or 3,
    )


def _show(
    console: Console,
    plans: Sequence[BuildPlan],
    batch: Batch,
    quality: QualityGate | None,
    *,
    as_json: bool,
) -> int:
    """Show what was built; return the exit code of the first package that failed, else 0.

    Raises the error that all of the packages ended with.
    """
    from edgegen.packaging.app_facts import app_facts

    failures = [it for it in batch.packages if isinstance(it, EdgegenError)]
    if failures and all(it is failures[0] for it in batch.packages):
        raise failures[0]
    rows, apps = [], []
    for plan, made in zip(plans, batch.packages, strict=True):
        if isinstance(made, EdgegenError):
            console.error(f"{plan.name}: {made.message}", made.hint)
            rows.append(failed_row(plan, made))
            continue
        for warning in made.warnings:
            console.warn(warning)
        apps.append(app_facts(plan, made.manifest, made.path))
        found = None if quality is None else quality.of(plan.name)
        more = {} if found is None else {"quality": found.suites}
        rows.append({**package_row(made), "app": apps[-1], **more})
    picture = batch.picture
    if isinstance(picture, EdgegenError):
        console.error(f"The picture of the packages: {picture.message}", picture.hint)
        failures.append(picture)
    elif picture is not None:
        place = picture_path(plans)
        _draw(picture, plans[0], place)
        add_picture([row for row in rows if "error" not in row], picture, place)
    if as_json:
        console.json({"packages": rows})
    elif len(plans) > 1:
        show_packages(console, plans, batch)
    else:
        (made,) = batch.packages
        assert not isinstance(made, EdgegenError)  # else it was raised
        show_package(console, made)
        show_app_facts(console, apps[0])
    return failures[0].exit_code if failures else 0


def _draw(drawn: SideBySide, plan: BuildPlan, path: Path) -> None:
    """Write one picture of what torch and each package draw."""
    from edgegen_runner.png import encode_png

    from edgegen.core.files import write_atomic
    from edgegen.report.pictures import Tile, grid

    case = drawn.case
    tiles = [Tile(it.pixels, f"{it.label}\n{distance(it.psnr_db)}") for it in drawn.drawings]
    title = f"{case.prompt or plan.candidate.spec.source}, seed {case.seed}, {case.steps} steps"
    write_atomic(path, encode_png(grid(tiles, columns=4, title=title)))
