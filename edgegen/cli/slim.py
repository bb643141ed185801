"""`edgegen slim`: a smaller model of a model, which every other command takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_model, known_models
from edgegen.cli.console import Cell, Console
from edgegen.cli.numbers import NumberRange
from edgegen.cli.shared_options import offline_option, revision_option, variant_option

if TYPE_CHECKING:
    from edgegen.pruning.run import PrunePlan
    from edgegen.pruning.select import What

_NOUNS = {"heads": "attention heads", "feed_forward": "feed-forward channels"}


@command(
    examples=(
        "edgegen slim builtin:scenes-4step-tiny --to 0.6 -o scenes-0.6",
        "edgegen slim ./my-model --to 0.8 --what heads,feed-forward -o my-model-0.8",
        "edgegen slim ./my-model --to 0.7 -o my-model-0.7 --dry-run",
    ),
    groups={
        "What is cut": ("share", "what"),
        "The model": ("variant", "revision", "offline"),
        "The result": ("output", "force", "dry_run", "as_json"),
    },
    values={"MODEL": known_models},
    ends_with=("SourceError", "MissingDependencyError", "ExportError", "ResourceError"),
)
@click.argument("model", shell_complete=complete_model)
@click.option(
    "--to",
    "share",
    type=NumberRange(0, 1, min_open=True),
    required=True,
    metavar="SHARE",
    help="The share of the denoiser's weights that stays, 0 to 1.",
)
@click.option(
    "--what",
    default="heads,feed-forward,resnets,blocks",
    show_default=True,
    metavar="KIND,…",
    help="Which kinds of cuts are allowed.",
)
@revision_option
@variant_option
@offline_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="The folder of the pruned model.",
)
@click.option("--force", is_flag=True, help="Replace an earlier pruned model at --output.")
@click.option("--dry-run", is_flag=True, help="Only list what would be cut.")
@click.option("--json", "as_json", is_flag=True, help="Write what was cut as JSON.")
@click.pass_obj
def slim(
    console: Console,
    /,
    model: str,
    share: float,
    what: str,
    revision: str | None,
    variant: str | None,
    offline: bool,
    output: Path,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Cut out of MODEL's denoiser what its pictures miss least, and write a smaller model.

    torch draws a few pictures and follows them back to every attention head, feed-forward channel,
    group of a resnet's channels and whole block. Those whose loss moves pictures least go, so that
    a share of the weights stays. The result is a folder that every other command takes; diffusers
    itself cannot load it.
    """
    from edgegen.models.source import resolve
    from edgegen.pruning.run import plan_pruning, prune, require_replaceable

    kinds = _kinds(what)
    if not dry_run:
        require_replaceable(output, force=force)
    folder = resolve(
        model, revision=revision, variant=variant, offline=offline, progress=console.progress
    )
    plan = plan_pruning(folder, share, what=kinds, progress=console.progress)
    if not dry_run:
        prune(plan, output, force=force)
    if as_json:
        console.json(
            {
                "origin": plan.origin,
                "cuts": plan.kept.cuts(plan.scores.structure),
                "loss": plan.kept.loss,
                "output": None if dry_run else str(output),
            }
        )
        return
    _show(console, plan)
    if not dry_run:
        console.print(f"Written: {output}")


def _kinds(text: str) -> tuple[What, ...]:
    from edgegen.core.errors import ConfigError, nearest
    from edgegen.pruning.select import WHAT

    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in WHAT:
            raise ConfigError(f"--what has '{word:.40}'.", hint=nearest(word, WHAT))
    return tuple(kind for kind in WHAT if kind in words)


def _show(console: Console, plan: PrunePlan) -> None:
    from edgegen.core.units import counted, format_bytes, format_count, format_duration

    scores, kept = plan.scores, plan.kept
    structure = scores.structure
    rows: list[list[Cell]] = []
    for path, units in kept.units.items():
        layer = structure.layers[path]
        noun = _NOUNS.get(layer.kind, "groups of channels")
        gone = (layer.units - len(units)) * structure.unit_numbers(path)
        rows.append([path, noun, f"{len(units)} of {layer.units}", format_count(gone)])
    for path in kept.dropped:
        gone = structure.block_numbers(path)
        rows.append([path, "the whole block", "its shortcut", format_count(gone)])
    notes = [
        f"{format_count(kept.numbers)} of {format_count(structure.numbers)} weights of "
        f"{scores.component} stay.",
        f"Measured on {counted(len(scores.cases), 'picture')}: "
        f"{format_duration(scores.cost.cpu_s)} of processor time, "
        f"{format_bytes(scores.cost.peak_memory_bytes)} of memory.",
    ]
    console.table(scores.model, ("layer", "what", "stays", "weights that go"), rows, notes)
