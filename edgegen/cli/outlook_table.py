"""What `edgegen inspect` shows of packages that could be built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgegen.cli.console import Console
from edgegen.core.units import counted, format_bytes, format_latency

if TYPE_CHECKING:
    from edgegen.core.profile import DeviceProfile
    from edgegen.predict.latency import LatencyPrediction
    from edgegen.predict.survey import Outlook

_COLUMNS = ("package", "size", "memory", "one at a time", "largest buffer", "latency", "fits")


def show_outlooks(
    console: Console,
    outlooks: Sequence[Outlook],
    profile: DeviceProfile | None,
    *,
    verbose: bool,
) -> None:
    """Print a row a package, and with `verbose` a row for each of its components."""
    rows = [_row(outlook) for outlook in outlooks if outlook.refused is None]
    title = "Packages" if profile is None else f"Packages for {profile.title}"
    columns = _COLUMNS if profile is not None else _COLUMNS[:-2]
    notes = ["All figures are predicted. Memory is the highest sum of PSS while it runs: with"]
    notes[0] += " all components loaded, and with one at a time."
    unmeasured = {it.target for it in outlooks if it.memory and it.memory["all"].unmeasured}
    if unmeasured:
        notes.append(f"{', '.join(sorted(unmeasured))}: no measurement stands behind its memory.")
    if profile is not None:
        notes.append(_latency_note(outlooks))
    notes += [f"{it.target} {it.recipe}: {it.refused}" for it in outlooks if it.refused]
    console.print()
    console.table(title, columns, [row[: len(columns)] for row in rows], notes)
    if verbose:
        for outlook in outlooks:
            _show_components(console, outlook)


def _row(outlook: Outlook) -> tuple[str | None, ...]:
    assert outlook.size is not None
    assert outlook.memory is not None
    together, apart = outlook.memory["all"], outlook.memory["sequential"]
    return (
        f"{outlook.target} {outlook.recipe}",
        format_bytes(outlook.size.package_bytes),
        format_bytes(together.peak_bytes),
        format_bytes(apart.peak_bytes),
        format_bytes(together.largest_buffer_bytes),
        _latency(outlook.latency),
        _fits(outlook),
    )


def _latency(found: LatencyPrediction | None) -> str | None:
    if found is None:
        return None
    return f"{format_latency(found.low_s)} to {format_latency(found.high_s)}"


def _latency_note(outlooks: Sequence[Outlook]) -> str:
    """Return what the latencies were scaled from."""
    found = {
        (it.latency.from_, it.latency.measurements) for it in outlooks if it.latency is not None
    }
    if not found:
        return "Latency: nothing was measured on this device that it could be scaled from."
    sources = "; ".join(
        f"{counted(number, 'measurement')} of the {origin}" for origin, number in sorted(found)
    )
    return f"Latency is that of an image, scaled from the history: {sources}."


def _fits(outlook: Outlook) -> str | None:
    if outlook.fits is None:
        return None
    words: str = outlook.fits
    if outlook.residency == "sequential" and outlook.fits in ("yes", "may"):
        words += ", one at a time"
    doubts = outlook.doubts if outlook.fits in ("may", "no") else ()
    return f"{words}: {'; '.join(doubts)}" if doubts else words


def _show_components(console: Console, outlook: Outlook) -> None:
    if outlook.memory is None or outlook.size is None:
        return
    rows = [
        (
            name,
            format_bytes(outlook.size.component_bytes[name]),
            format_bytes(memory.weights_bytes),
            format_bytes(memory.activations_bytes),
            f"{format_bytes(memory.largest_weight_bytes)}, {memory.largest_weight}",
            f"{format_bytes(memory.largest_activation_bytes)}, {memory.largest_activation}",
        )
        for name, memory in outlook.memory["all"].components.items()
    ]
    columns = ("component", "size", "held", "activations", "largest weight", "largest activation")
    console.print()
    console.table(f"{outlook.target} {outlook.recipe}", columns, rows)
