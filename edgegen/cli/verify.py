"""`edgegen verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_package
from edgegen.cli.console import Console
from edgegen.cli.shared_options import (
    adapter_options,
    arithmetic_option,
    reading_options,
    take_reading,
)

if TYPE_CHECKING:
    from edgegen.core.recipe import ArithmeticWish
    from edgegen.packaging.verify import Verification


@command(
    examples=(
        "edgegen verify scenes/onnx-fp16-storage",
        "edgegen verify my-package --full --model ./my-model",
    ),
    ends_with=("MissingDependencyError", "ParityError", "RunnerError", "IntegrityError"),
)
@click.argument("package", type=click.Path(path_type=Path), shell_complete=complete_package)
@click.option(
    "--full", is_flag=True, help="Compare with torch at the model's own size; needs the model."
)
@click.option("--model", help="Where the model is, if not where the manifest says; with --full.")
@adapter_options
@reading_options
@arithmetic_option
@click.option("--verbose", "-v", is_flag=True, help="Show every check, not each component's worst.")
@click.option("--json", "as_json", is_flag=True, help="Write the manifest's hash and all checks.")
@click.pass_obj
def verify(
    console: Console,
    /,
    package: Path,
    full: bool,
    model: str | None,
    loras: tuple[str, ...],
    embeddings: tuple[str, ...],
    ip_adapter: str | None,
    image_encoder: str | None,
    arithmetic: ArithmeticWish | None,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Check PACKAGE: every byte, the manifest, then that it computes what its model computes.

    Without --full it is compared with the golden case that it carries, which needs no torch. What
    is measured goes to evidence.json in the package, where that can be written.
    """
    from edgegen.core.errors import ParityError
    from edgegen.models.adapters.image_prompt import image_prompt_choice
    from edgegen.packaging.verify import verify_package
    from edgegen.parity.gate import require

    verification = verify_package(
        package,
        full=full,
        model=model,
        loras=loras,
        embeddings=embeddings,
        image_prompt=image_prompt_choice(ip_adapter, image_encoder),
        reading=take_reading(options),
        progress=console.progress,
        arithmetic=arithmetic,
    )
    if verification.choice is not None:
        console.note(f"Arithmetic: {verification.choice.reason}")
    if as_json:
        console.json(verification.evidence)
    else:
        _show(console, package, verification, verbose=verbose)
    if verification.unwritten is not None:
        console.warn(f"This is not kept as the package's evidence: {verification.unwritten}")
    try:
        require(verification.run, verification.manifest, verification.arithmetic)
    except ParityError as error:
        if not as_json:
            raise
        console.error(error.message, error.hint)  # the checks are the one JSON document
        return error.exit_code
    return 0


_EMULATED = (
    "The NPU was emulated by this machine: the pictures are right, and its times say nothing."
)


def _show(console: Console, package: Path, verification: Verification, *, verbose: bool) -> None:
    from edgegen.cli.parity_table import show_parity
    from edgegen.core.units import format_bytes, format_duration

    run, case, files = verification.run, verification.case, verification.manifest.files
    cost = run.cost
    memory = ""
    if cost.peak_memory_bytes is not None:
        memory = f", {format_bytes(cost.peak_memory_bytes)} at most"
    passed = sum(check.passed for check in run.checks)
    size = format_bytes(sum(file.size_bytes for file in files))
    notes = (
        *(
            (f"Both sides drew with {', '.join(verification.loras)}.",)
            if verification.loras
            else ()
        ),
        *((_EMULATED,) if verification.evidence.emulated else ()),
        f"{len(files)} files, {size}: every byte is as it was built.",
        f"{passed} of {len(run.checks)} checks passed, in {format_duration(cost.wall_s)}{memory}.",
        f"The run: {case.width} × {case.height} pixels, {case.steps} steps, {case.scheduler}.",
    )
    show_parity(console, f"Parity of {package}", run.checks, verbose=verbose, notes=notes)
