"""`edgegen inspect`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
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
from edgegen.cli.outlook_table import show_outlooks
from edgegen.cli.shared_options import (
    READING,
    adapter_options,
    cache_interval_option,
    height_option,
    offline_option,
    reading_options,
    recipe_option,
    revision_option,
    take_reading,
    variant_option,
    width_option,
)
from edgegen.core.errors import ConfigError

if TYPE_CHECKING:
    from edgegen.core.measurement import Measurement
    from edgegen.core.profile import DeviceProfile
    from edgegen.core.reading import Reading
    from edgegen.models.model_folder import ModelFolder
    from edgegen.models.summary import PipelineSummary
    from edgegen.packaging.wanted import Wanted
    from edgegen.predict.survey import Outlook


@command(
    examples=(
        "edgegen inspect builtin:scenes",
        "edgegen inspect stabilityai/sd-turbo --verbose",
        "edgegen inspect builtin:scenes -p raspberry-pi-5 --width 128 --height 128",
        "edgegen inspect builtin:scenes -t coreml:mixed-9MB -t coreml:palette4",
    ),
    groups={
        "What would be built, and where": (
            *("profile", "targets", "recipes"),
            *("width", "height", "cache_interval"),
        ),
        "The model": (
            "loras",
            "embeddings",
            "ip_adapter",
            "image_encoder",
            "variant",
            "revision",
            "offline",
            *READING,
        ),
        "The result": ("verbose", "as_json"),
    },
    values={"MODEL": known_models, "--target": known_targets, "--profile": known_profiles},
    ends_with=("SourceError", "MissingDependencyError", "ExportError"),
)
@click.argument("model", shell_complete=complete_model)
@click.option(
    "-p",
    "--profile",
    shell_complete=complete_profile,
    help="Say what packages would take of a device: `edgegen profiles` lists them.",
)
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    metavar="TARGET[:RECIPE]",
    shell_complete=complete_target,
    help="Say what such a package would take; repeatable. Default: those of the profile's "
    "runtimes, in every recipe.",
)
@recipe_option
@width_option
@height_option
@cache_interval_option
@adapter_options
@revision_option
@variant_option
@offline_option
@reading_options
@click.option("--verbose", "-v", is_flag=True, help="Show the components' inputs and outputs.")
@click.option("--json", "as_json", is_flag=True, help="Write everything as JSON.")
@click.pass_obj
def inspect(
    console: Console,
    /,
    model: str,
    profile: str | None,
    targets: tuple[str, ...],
    recipes: tuple[str, ...],
    width: int | None,
    height: int | None,
    cache_interval: int | None,
    loras: tuple[str, ...],
    embeddings: tuple[str, ...],
    ip_adapter: str | None,
    image_encoder: str | None,
    revision: str | None,
    variant: str | None,
    offline: bool,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what MODEL is made of, and which targets can take it.

    MODEL is a diffusers folder, a checkpoint in one file (model.safetensors), the id of a model on
    the hub (ORG/NAME or ORG/NAME@REVISION), or a model that ships with edgegen (builtin:scenes). Of
    a checkpoint it says what it is, and what of it is left out. Only configurations and the headers
    of weights are read, and of a model on the hub nothing else is fetched, but for a mix
    (`mixed-4.5`, `mixed-300MB`), whose layers are measured (edgegen sensitivity). With --profile or
    --target it says what packages would take: their size, the highest memory of a run with all
    components loaded and with one at a time, the largest single buffer, and the latency of an image
    where the history has measurements of the device (edgegen history). For that the networks are
    traced once at the size of the images, and remembered.
    """
    from edgegen.core.codec import encode
    from edgegen.core.targets import load_targets
    from edgegen.devices.profiles import load_profile
    from edgegen.models.adapters.adapted_folder import with_adapters
    from edgegen.models.adapters.image_prompt import image_prompt_choice
    from edgegen.models.summary import summarize
    from edgegen.packaging.drawing import scheduler_problem
    from edgegen.packaging.wanted import wanted_packages

    device = None if profile is None else load_profile(profile)
    wanted: tuple[Wanted, ...] = ()
    outlooks: tuple[Outlook, ...] = ()
    if device is not None or targets:
        wanted = wanted_packages(targets, recipes, device)
    elif recipes or width or height or cache_interval:
        raise ConfigError(
            "A recipe, a size and an interval are of packages, and none is asked for.",
            hint="Add --profile NAME, or --target TARGET.",
        )
    reading = take_reading(options)
    with _opened(console, model, revision, variant, offline, reading, wanted) as found:
        prompt_by = image_prompt_choice(ip_adapter, image_encoder)
        folder = with_adapters(
            found, loras, embeddings, prompt_by, offline=offline, progress=console.progress
        )
        summary = summarize(folder)
        problem = scheduler_problem(summary.pipeline, folder.path)
        if wanted:
            outlooks = _outlooks(console, folder, device, wanted, (width, height), cache_interval)
    family = summary.pipeline.family
    known = [name for name, target in load_targets().items() if target.lacks(family) is None]
    if as_json:
        fields = {"targets": known, "scheduler_problem": problem, "packages": outlooks}
        console.json({**encode(summary), **fields})
        return
    _show(console, summary, known)
    if problem is not None:
        console.warn(f"{problem} To package it: edgegen package --scheduler NAME")
    if verbose:
        _show_signatures(console, summary)
    if outlooks:
        show_outlooks(console, outlooks, device, verbose=verbose)


def _opened(
    console: Console,
    model: str,
    revision: str | None,
    variant: str | None,
    offline: bool,
    reading: Reading,
    wanted: tuple[Wanted, ...],
) -> AbstractContextManager[ModelFolder]:
    """Return a model with its headers only, unless a mix is wanted: its weights are measured."""
    from edgegen.core.targets import load_target
    from edgegen.models.source import resolve, resolve_headers
    from edgegen.packaging.mixed import mix_of

    if any(mix_of(it.recipe, load_target(it.target)) is not None for it in wanted):
        whole = resolve(
            model,
            revision=revision,
            variant=variant,
            offline=offline,
            reading=reading,
            progress=console.progress,
        )
        return nullcontext(whole)
    return resolve_headers(
        model,
        revision=revision,
        variant=variant,
        offline=offline,
        reading=reading,
        progress=console.progress,
    )


def _outlooks(
    console: Console,
    folder: ModelFolder,
    device: DeviceProfile | None,
    wanted: tuple[Wanted, ...],
    size: tuple[int | None, int | None],
    cache_interval: int | None,
) -> tuple[Outlook, ...]:
    from edgegen.packaging.mixed import describe, mix_wanted
    from edgegen.packaging.model_facts import read_facts
    from edgegen.predict.survey import survey

    facts, wanted, mixes = mix_wanted(
        read_facts(folder, cache_interval=cache_interval),
        wanted,
        profile=device,
        width=size[0],
        height=size[1],
        progress=console.progress,
    )
    for mixed in mixes:
        console.note(describe(mixed))
    return survey(
        facts,
        wanted,
        profile=device,
        width=size[0],
        height=size[1],
        measurements=() if device is None else _measured_on(device),
        progress=console.progress,
    )


def _measured_on(device: DeviceProfile) -> tuple[Measurement, ...]:
    """Return the history's measurements of a device, the latest of each package and workload."""
    from edgegen.history.record import Query, Record
    from edgegen.history.store import History, is_on

    if not is_on():
        return ()
    with History.open() as history:
        latest: dict[tuple[object, ...], Record] = {}
        for record in history.find(Query(device_profile=device.name, complete=True)):
            package = (record.model, record.weights_sha256, record.target, record.recipe)
            image = (record.width, record.height, record.steps, record.guidance, record.scheduler)
            part = (record.guidance_start, record.guidance_stop, record.cache_interval)
            how = (record.residency, record.memory_mode, record.arithmetic)
            drawn = (record.providers, record.threads, *how)
            latest.setdefault((package, image, part, drawn), record)
        return tuple(history.measurement(record) for record in latest.values())


def _show(console: Console, summary: PipelineSummary, targets: list[str]) -> None:
    from edgegen.cli.formats import format_adapters, format_drawing
    from edgegen.core.units import format_bytes, format_count

    pipeline, generation = summary.pipeline, summary.pipeline.generation
    rows = [
        (
            it.spec.name,
            it.spec.class_name,
            format_count(it.spec.parameters),
            ", ".join(it.storage_types),
            format_bytes(it.storage_bytes),
        )
        for it in summary.components
    ]
    parameters = sum(it.spec.parameters for it in summary.components)
    size = format_bytes(sum(it.storage_bytes for it in summary.components))
    rows.append(("all", "", format_count(parameters), "", size))
    at = f"{pipeline.source} ({pipeline.revision[:12]})" if pipeline.revision else pipeline.source
    latents = "without latents"
    if generation.vae_scale_factor > 1:
        side = generation.vae_scale_factor
        latents = (
            f"from latents of {generation.latent_channels} channels, {side}×{side} pixels each"
        )
    notes = [
        f"Family: {pipeline.family} ({pipeline.pipeline_class}).",
        f"Images: {generation.width}×{generation.height}, {latents}.",
        f"Scheduler: {summary.scheduler}; {format_drawing(pipeline)}.",
        f"Prompt: {generation.text_length} tokens." if generation.text_length else "Prompt: none.",
        f"Weights: {_taken(summary)}.",
        f"Licence: {pipeline.licence or 'not stated'}.",
        f"Targets: {', '.join(targets) or 'none yet'}.",
    ]
    if pipeline.adapters:
        notes.append(f"Added: {format_adapters(pipeline.adapters)}.")
    if summary.form is not None:
        notes.insert(0, f"Stored as: {summary.form}.")
    notes += [f"{said[:1].upper()}{said[1:]}." for said in summary.said]
    if pipeline.extras:
        notes.append(f"Left out of packages: {', '.join(pipeline.extras)}.")
    columns = ("component", "class", "parameters", "stored as", "size")
    console.table(at, columns, rows, notes)


def _taken(summary: PipelineSummary) -> str:
    """Say which of the weight files that are there are taken, and how to have others."""
    from edgegen.cli.formats import format_variants

    others = sorted({name for component in summary.components for name in component.variants})
    taken = format_variants({it.spec.folder: it.spec.variant for it in summary.components})
    return f"{taken}; --variant takes {' or '.join(others)}" if others else taken


def _show_signatures(console: Console, summary: PipelineSummary) -> None:
    for component in summary.components:
        rows = [
            (way, tensor.name, tensor.dtype, f"({', '.join(map(str, tensor.shape))})")
            for way, tensors in (
                ("in", component.spec.inputs),
                ("out", component.spec.outputs),
            )
            for tensor in tensors
        ]
        console.print()
        console.table(component.spec.name, ("", "tensor", "type", "shape"), rows)
