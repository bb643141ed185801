"""`edgegen slim`: a smaller model of a model, which every other command takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_model, known_models
from edgegen.cli.console import Cell, Console
from edgegen.cli.durations import DURATION
from edgegen.cli.numbers import NumberRange
from edgegen.cli.shared_options import offline_option, revision_option, variant_option

if TYPE_CHECKING:
    from edgegen.models.origin import Recovery
    from edgegen.pruning.run import PrunePlan
    from edgegen.pruning.select import What

_NOUNS = {"heads": "attention heads", "feed_forward": "feed-forward channels"}


@command(
    examples=(
        "edgegen slim builtin:scenes-4step-tiny --to 0.6 -o scenes-0.6",
        "edgegen slim ./my-model --to 0.8 --what heads,feed-forward -o my-model-0.8",
        "edgegen slim ./my-model --to 0.6 --recover 1h --prompts prompts.txt -o my-model-0.6",
        "edgegen slim ./my-model --to 0.7 -o my-model-0.7 --dry-run",
    ),
    groups={
        "What is cut": ("share", "what"),
        "What it learns again": ("recover", "prompts_file", "seed"),
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
@click.option(
    "--recover",
    type=DURATION,
    metavar="DURATION",
    help="Let the pruned model learn from MODEL for so long (10m, 1h), on a GPU that torch has.",
)
@click.option(
    "--prompts",
    "prompts_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Prompts to learn from, one a line. Default: what MODEL is known for, or common things.",
)
@click.option("--seed", type=click.IntRange(0, 2**31), help="Of what it learns from.")
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
    recover: float | None,
    prompts_file: Path | None,
    seed: int | None,
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

    With --recover the pruned model then learns what MODEL computes. That can be stopped: the same
    command goes on where it was, and one with more time from where the other ended.
    """
    from edgegen.core.errors import ConfigError
    from edgegen.models.source import resolve
    from edgegen.pruning.prompts import prompts_of, read_prompts
    from edgegen.pruning.recovery import SEED, RecoverySettings
    from edgegen.pruning.run import plan_pruning, prune, require_replaceable

    kinds = _kinds(what)
    if recover is None and (prompts_file is not None or seed is not None):
        raise ConfigError(
            "--prompts and --seed are for --recover.", hint="Add --recover 10m, or leave them out."
        )
    given = None if prompts_file is None else read_prompts(prompts_file)
    if not dry_run:
        require_replaceable(output, force=force)
    folder = resolve(
        model, revision=revision, variant=variant, offline=offline, progress=console.progress
    )
    plan = plan_pruning(folder, share, what=kinds, progress=console.progress)
    origin = plan.origin
    if not dry_run:
        settings = None
        if recover is not None:
            prompts = prompts_of(plan.spec, folder.path) if given is None else given
            settings = RecoverySettings(
                seconds=recover,
                prompts=prompts if plan.spec.facts.takes_text else (),
                seed=SEED if seed is None else seed,
            )
        origin = prune(plan, output, force=force, recovery=settings, progress=console.progress)
    if as_json:
        console.json(
            {
                "origin": origin,
                "cuts": plan.kept.cuts(plan.scores.structure),
                "loss": plan.kept.loss,
                "output": None if dry_run else str(output),
            }
        )
        return
    _show(console, plan)
    if origin.recovery is not None:
        _show_recovery(console, origin.recovery)
    if not dry_run:
        console.print(f"Written: {output}")


def _show_recovery(console: Console, found: Recovery) -> None:
    from edgegen.core.units import format_duration

    ended = ", until nothing got better" if found.is_over else ""
    console.print(
        f"Learned for {format_duration(found.seconds)}{ended}: {found.steps:,} steps of "
        f"{found.batch} pictures on the {found.device}. What it predicts differs from the original "
        f"by {found.loss_after:.2e} of the variance, {found.loss_before:.2e} before."
    )


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
