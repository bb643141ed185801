"""The table of parity checks that `package` and `verify` show."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.cli.console import Cell, Console
from edgegen.core.package import ParityCheck

COLUMNS = ("layer", "output", "PSNR (dB)", "at least", "largest error", "verdict")


def show_parity(
    console: Console,
    title: str,
    checks: Sequence[ParityCheck],
    *,
    verbose: bool = False,
    notes: Sequence[str] = (),
) -> None:
    """Show every check, or without `verbose` each component's and layer's worst."""
    shown = checks if verbose else _worst_of_each(checks)
    console.table(title, COLUMNS, [_row(check) for check in shown], notes)


def _row(check: ParityCheck) -> tuple[Cell, ...]:
    psnr = None if check.psnr_db is None else round(check.psnr_db, 1)
    verdict = "passed" if check.passed else f"FAILED: {check.why}"
    if check.passed and check.psnr_db is None:
        verdict = "passed: equal"
    error = None if check.max_abs_error is None else float(f"{check.max_abs_error:.2g}")
    name = check.name if check.chip is None else f"{check.name}, {check.chip}"
    return check.layer, name, psnr, check.threshold_db, error, verdict


def _worst_of_each(checks: Sequence[ParityCheck]) -> list[ParityCheck]:
    """Return the worst check of each component and other layer, by chip, and every failed one."""
    from edgegen.parity.gate import worst_check

    groups: dict[tuple[str | None, str], list[ParityCheck]] = {}
    for check in checks:
        is_component = check.layer == "component"
        name = check.name.partition(".")[0] if is_component else check.layer
        groups.setdefault((check.chip, name), []).append(check)
    shown = []
    for group in groups.values():
        failures = [check for check in group if not check.passed]
        shown += failures or [worst_check(group)]
    return shown
