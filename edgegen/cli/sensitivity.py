"""`edgegen sensitivity`: what each layer's weights may lose, and what that does to pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_model, known_models
from edgegen.cli.console import Cell, Console
from edgegen.cli.shared_options import (
    ADAPTERS,
    READING,
    adapter_options,
    no_lora_as_input,
    offline_option,
    reading_options,
    revision_option,
    take_reading,
    variant_option,
)

if TYPE_CHECKING:
    from edgegen.core.sensitivity import Sensitivity

_FILE = click.Path(path_type=Path, dir_okay=False)


@command(
    examples=(
        "edgegen sensitivity builtin:scenes-4step-tiny",
        "edgegen sensitivity builtin:emoji -o sensitivity.html --csv sensitivity.csv",
        "edgegen sensitivity ./my-model --storage palette4 --storage int4 --layers 50",
    ),
    groups={
        "What is shown": ("storages", "layers"),
        "The model": (*ADAPTERS, "variant", "revision", "offline", *READING),
        "The result": ("output", "csv_file", "as_json", "fresh"),
    },
    values={"MODEL": known_models},
    ends_with=("SourceError", "MissingDependencyError", "ExportError", "ResourceError"),
)
@click.argument("model", shell_complete=complete_model)
@click.option(
    "--storage",
    "storages",
    multiple=True,
    metavar="NAME",
    help="Show this type of storage; repeatable. Default: the best of each number of bits.",
)
@click.option(
    "--layers",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="How many layers are shown, the worst first; files have all.",
)
@adapter_options
@no_lora_as_input(
    "what is measured is what storing does to the weights, and a LoRA beside them changes none",
    "Leave it out; --lora FILE adds a LoRA to the weights.",
)
@revision_option
@variant_option
@offline_option
@reading_options
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="Write a page (.html).")
@click.option("--csv", "csv_file", type=_FILE, metavar="FILE", help="Write all losses as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Write the whole table as JSON.")
@click.option("--fresh", is_flag=True, help="Measure again what the cache has.")
@click.pass_obj
def sensitivity(
    console: Console,
    /,
    model: str,
    storages: tuple[str, ...],
    layers: int,
    loras: tuple[str, ...],
    embeddings: tuple[str, ...],
    ip_adapter: str | None,
    image_encoder: str | None,
    revision: str | None,
    variant: str | None,
    offline: bool,
    output: Path | None,
    csv_file: Path | None,
    as_json: bool,
    fresh: bool,
    **options: Any,
) -> None:
    """Say what storing each layer of MODEL in fewer bits does to its pictures.

    torch draws a few pictures and follows them back to every weight, of all components. From these
    gradients and from what a type of storage does to the weights follows how far a picture moves if
    only that layer is stored so, as a PSNR. One table serves all targets; it is kept in the cache.
    """
    from edgegen.core.files import write_atomic
    from edgegen.models.adapters.adapted_folder import with_adapters
    from edgegen.models.adapters.image_prompt import image_prompt_choice
    from edgegen.models.pipeline_source import folder_source
    from edgegen.models.read import read_pipeline
    from edgegen.models.source import resolve
    from edgegen.packaging.source_hash import weights_sha256
    from edgegen.report.sensitivity_page import csv, page
    from edgegen.sensitivity.run import measure_sensitivity

    _check(storages, output, csv_file)
    folder = resolve(
        model,
        revision=revision,
        variant=variant,
        offline=offline,
        reading=take_reading(options),
        progress=console.progress,
    )
    prompt_by = image_prompt_choice(ip_adapter, image_encoder)
    folder = with_adapters(
        folder, loras, embeddings, prompt_by, offline=offline, progress=console.progress
    )
    spec = read_pipeline(folder)
    table = measure_sensitivity(
        spec,
        folder_source(folder.path),
        weights_sha256=weights_sha256(folder.path, spec.components, console.progress),
        progress=console.progress,
        fresh=fresh,
    )
    if as_json:
        console.json(table)
    else:
        _show(console, table, storages, layers)
    for path, made in ((output, page), (csv_file, csv)):
        if path is not None:
            write_atomic(path, made(table))
            console.note(f"Written: {path}")


def _check(storages: tuple[str, ...], output: Path | None, csv_file: Path | None) -> None:
    from edgegen.compress.codecs import CODECS
    from edgegen.core.errors import ConfigError, nearest

    for name in storages:
        if name not in CODECS:
            raise ConfigError(
                f"There is no type of storage '{name:.40}'.", hint=nearest(name, CODECS)
            )
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(
            f"{output} does not end in .html, and a page is written to it.",
            hint="Name it sensitivity.html, or write --csv FILE.",
        )
    for path in (output, csv_file):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError(
                f"{path} cannot be written: its folder does not exist.",
                hint=f"mkdir -p {path.absolute().parent}",
            )


def _show(console: Console, table: Sensitivity, storages: tuple[str, ...], layers: int) -> None:
    from edgegen.core.sensitivity import loss_psnr_db, one_for_each_size, worst_first
    from edgegen.core.units import counted, format_bytes, format_count, format_duration

    shown = storages or one_for_each_size(table)
    ordered = worst_first(table, shown)
    rows: list[list[Cell]] = []
    for component, name, layer in ordered[:layers]:
        found = [loss_psnr_db(layer.losses[storage]) for storage in shown]
        decibels: list[Cell] = [None if it is None else round(it, 1) for it in found]
        rows.append([component, name, format_count(layer.numbers), *decibels])
    cost = table.cost
    pictures = f"{counted(len(table.cases), 'picture')} in {table.cases[0].steps} steps"
    notes = [
        "Each figure is the PSNR, in dB, of pictures if only that layer is stored so, to first "
        "order; low is bad.",
        f"Of {counted(len(ordered), 'layer')}, the worst first. Measured on {pictures}: "
        f"{format_duration(cost.cpu_s)} of processor time, {format_bytes(cost.peak_memory_bytes)} "
        "of memory.",
    ]
    console.table(table.model, ("component", "layer", "weights", *shown), rows, notes)
