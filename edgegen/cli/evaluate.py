"""`edgegen evaluate`: how near the pictures of packages are to those of their model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_model, complete_package
from edgegen.cli.console import Console
from edgegen.cli.limit_options import limit_options, parameters, quality_limits, take_limits
from edgegen.cli.numbers import NUMBER, NumberRange
from edgegen.cli.on_device import LOCAL, attached, device_option, root_option
from edgegen.cli.on_package import check_package, verify_option
from edgegen.cli.shared_options import (
    ADAPTERS,
    READING,
    adapter_options,
    arithmetic_option,
    no_history_option,
    reading_options,
    take_reading,
)

if TYPE_CHECKING:
    from edgegen.evaluate.gate import Broken
    from edgegen.evaluate.run import Evaluated

_LIMITS = quality_limits()


@command(
    examples=(
        "edgegen evaluate scenes/onnx-fp16-storage -o quality",
        "edgegen evaluate out/onnx-fp16 out/tflite-int8-dynamic --suite known --pictures 12",
        "edgegen evaluate my-package --model ./my-model --min-psnr 30dB",
        "edgegen evaluate scenes/openvino-int8 --arithmetic bfloat16",
    ),
    groups={
        "What is asked": ("suites", "pictures", "seeds"),
        "How": (
            *("steps", "guidance", "guidance_stop", "cache_interval"),
            *("reference_steps", "width", "height", "arithmetic"),
        ),
        "What it is compared with": ("model", "against", *ADAPTERS, *READING, "clip"),
        "Limits": parameters(_LIMITS),
        "Where": ("device",),
        "The package": ("verify",),
        "The result": ("output", "as_json", "no_history"),
    },
    ends_with=(
        "MissingDependencyError",
        "ParityError",
        "DeviceError",
        "RunnerError",
        "IntegrityError",
        "SourceError",
        "ResourceError",
    ),
)
@click.argument(
    "packages",
    metavar="PACKAGE…",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    shell_complete=complete_package,
)
@device_option(LOCAL)
@root_option
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME|FILE",
    help="known, stress, or a .toml file of your own; repeatable. Default: known and stress.",
)
@click.option(
    "--pictures",
    type=click.IntRange(1, 10_000),
    help="Prompts of each suite; default: all, and 4 of a model above 256 pixels.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1_000),
    default=1,
    show_default=True,
    help="Pictures of each prompt.",
)
@click.option(
    "--steps", type=click.IntRange(1, 10_000), help="Steps of the package; default: its own."
)
@click.option("--guidance", type=NUMBER, help="Guidance scale of both; default: the package's.")
@click.option(
    "--guidance-stop",
    type=NumberRange(0, 1, min_open=True),
    help="Part of the steps in which the package is guided, 0 to 1; default: its own.",
)
@click.option(
    "--cache-interval",
    type=click.IntRange(1, 10_000),
    help="Steps of the package to one that computes all layers of its UNet; default: its own.",
)
@click.option(
    "--reference-steps",
    type=click.IntRange(1, 10_000),
    help="Steps of the model in torch; default: its own.",
)
@click.option("--width", type=click.IntRange(1, 16_384), help="In pixels; default: the package's.")
@click.option("--height", type=click.IntRange(1, 16_384), help="In pixels; default: the package's.")
@arithmetic_option
@click.option("--model", help="Where the model is, if not where the manifest says.")
@adapter_options
@click.option(
    "--against",
    metavar="MODEL",
    shell_complete=complete_model,
    help="Compare with the pictures of this model instead: the one that MODEL was pruned from.",
)
@click.option(
    "--clip",
    metavar="MODEL",
    help="Add CLIP similarity: a folder with a CLIP model, or a hub id in the hub's cache.",
)
@reading_options
@limit_options(_LIMITS)
@verify_option
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep evaluation.json, all pictures, and the worst on one page.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the evaluations as JSON.")
@no_history_option
@click.pass_obj
def evaluate(
    console: Console,
    /,
    packages: tuple[Path, ...],
    device: str,
    model: str | None,
    against: str | None,
    loras: tuple[str, ...],
    embeddings: tuple[str, ...],
    ip_adapter: str | None,
    image_encoder: str | None,
    verify: bool,
    output: Path | None,
    as_json: bool,
    no_history: bool,
    **options: Any,
) -> int:
    """Compare the pictures of each PACKAGE with those of its model in torch.

    Both draw the same prompts from the same noise. The suite `known` asks what the model knows,
    `stress` what it may not. Torch's pictures are kept in the cache. A package that breaks a limit,
    or the one that its recipe sets for the suite `known`, ends with code 4; so does one that draws
    black, one color or noise where the model does not.
    """
    from edgegen.cli.evaluation_tables import show_evaluations, show_kinds
    from edgegen.core.errors import ConfigError
    from edgegen.core.manifest import load_manifest
    from edgegen.evaluate.clip import check_model
    from edgegen.evaluate.gate import gate, recipe_limits, with_defaults, without_limits
    from edgegen.evaluate.run import check_before, evaluate_with_pictures
    from edgegen.evaluate.settings import EvaluateSettings
    from edgegen.evaluate.suite import DEFAULT
    from edgegen.history.keep import keep
    from edgegen.models.adapters.image_prompt import image_prompt_choice
    from edgegen.models.source import resolve
    from edgegen.packaging.packaged_model import counterpart_of

    limits, reading = take_limits(options, _LIMITS), take_reading(options)
    settings = EvaluateSettings(suites=options.pop("suites") or DEFAULT, **options)
    manifests = [load_manifest(package) for package in packages]
    for package, manifest in zip(packages, manifests, strict=True):
        check_package(console, package, manifest, device, verify=verify)
    added = (loras, embeddings, image_prompt_choice(ip_adapter, image_encoder))
    other = None if against is None else resolve(against, progress=console.progress)
    if settings.clip is not None:
        check_model(settings.clip)
    found: list[Evaluated] = []
    broken: list[tuple[Broken, ...]] = []
    notes: list[str | None] = []
    with ExitStack() as stack:
        sides = [
            stack.enter_context(counterpart_of(manifest, model, *added, reading))
            for manifest in manifests
        ]
        if other is not None and any(side.given for side in sides):
            raise ConfigError(
                f"--against {against} draws without the LoRAs that a package here is given.",
                hint="Leave --against out, or --lora.",
            )
        for package, side in zip(packages, sides, strict=True):
            check_before(package, model=side.model, settings=settings, limits=limits)
        there = None
        if device != LOCAL:
            there = stack.enter_context(attached(device, console.progress, console.note))
        for package, manifest, side in zip(packages, manifests, sides, strict=True):
            each = evaluate_with_pictures(
                package,
                model=side.model,
                settings=settings,
                device=there,
                progress=console.progress,
                against=other,
                given=side.given,
            )
            found.append(each)
            # a recipe's limits are for what it does to its own model
            own = () if other else recipe_limits(manifest.recipe, each.evaluation)
            wanted = with_defaults(limits, own)
            broken.append(gate(each.evaluation, wanted))
            is_own = other is None
            notes.append(
                without_limits(manifest.recipe, each.evaluation, wanted) if is_own else None
            )
            if output is not None:
                _write(each, _folders(packages, output)[len(found) - 1])
    names = [str(package) for package in packages]
    evaluations = [each.evaluation for each in found]
    for warning in dict.fromkeys(it for each in evaluations for it in each.warnings):
        console.note(warning)
    for name, note in zip(names, notes, strict=True):
        if note is not None:
            console.note(f"{name}: {note}")
    if as_json:
        console.json({"evaluations": evaluations, "broken": broken})
    else:
        show_evaluations(console, names, evaluations)
        show_kinds(console, names, evaluations)
        if output is not None:
            console.print(f"Pictures, and the worst of them: {output}")
    problem = None if no_history else keep(*evaluations)
    if problem is not None:
        console.warn(f"Not in the history: {problem.message} {problem.hint}")
    return _end(console, names, found, broken)


def _write(found: Evaluated, folder: Path) -> None:
    """Write an evaluation, its pictures, and the worst of these on one page."""
    from edgegen.cli.evaluation_tables import worst_page
    from edgegen.core.codec import dump_json
    from edgegen.core.files import translate_disk_errors, write_atomic
    from edgegen.core.kept_pictures import FOLDER_NAME
    from edgegen.evaluate.pictures import write_pictures

    with translate_disk_errors(folder):  # until all is written, there is no evaluation here
        (folder / "evaluation.json").unlink(missing_ok=True)
    write_pictures(folder / FOLDER_NAME, found.pairs)
    write_atomic(folder / "worst.png", worst_page(found))
    write_atomic(folder / "evaluation.json", dump_json(found.evaluation))


def _folders(packages: Sequence[Path], output: Path) -> list[Path]:
    """Return the folder of each package's result: the output itself where there is one package.

    They are called after their packages, with a number where another one is called so already.
    """
    if len(packages) == 1:
        return [output]
    names: list[str] = []
    for package in packages:
        name, number = package.resolve().name, 1
        while name in names:
            number += 1
            name = f"{package.resolve().name}-{number}"
        names.append(name)
    return [output / name for name in names]


def _end(
    console: Console, names: list[str], found: list[Evaluated], broken: list[tuple[Broken, ...]]
) -> int:
    """Say which packages fail; return the exit code."""
    from edgegen.core.errors import ParityError
    from edgegen.evaluate.gate import require_quality

    code = 0
    for name, each, these in zip(names, found, broken, strict=True):
        try:
            require_quality(each.evaluation, these, name)
        except ParityError as error:
            console.error(error.message, error.hint)
            code = error.exit_code
    return code
