"""A model's sensitivity as one self-contained page, and as CSV."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.sensitivity import (
    LayerSensitivity,
    Sensitivity,
    loss_psnr_db,
    lossy,
    one_for_each_size,
    worst_first,
)
from edgegen.core.units import (
    counted,
    format_bytes,
    format_count,
    format_decibels,
    format_duration,
    three_digits,
)
from edgegen.report.blocks import cards, explain, facts, section, wide
from edgegen.report.document import document, header
from edgegen.report.plain import CsvCell, csv_text
from edgegen.report.svg import Markup, drawing, element

_WORST = 16
_WIDTH, _LABEL = 860.0, 400.0
_ROW, _BAR_ROW = 17.0, 26.0
_BEST_DB, _WORST_DB = 80.0, 20.0
"""A cell is empty where pictures lose no more than that, and full where they lose as much."""
_MOST_LETTERS = 52

Found = tuple[str, str, LayerSensitivity]


def page(table: Sensitivity) -> str:
    """Return the page: the worst layers as bars, and every layer and storage as a map."""
    storages = lossy(table)
    pictures = f"{counted(len(table.cases), 'picture')} in {table.cases[0].steps} steps"
    title = f"Sensitivity of {table.model}"
    body = [
        header(title, f"Measured in torch on {pictures}", _badges(table)),
        element("section", cards(_cards(table))),
        section(
            "What moves pictures most",
            explain(
                "The PSNR of pictures if only that layer is stored so, to first order, in the best "
                "storage of each number of bits. A short bar is a layer that loses little."
            ),
            wide(_bars(table)),
        ),
        *(
            section(
                component,
                explain(
                    "Every layer in the order of the network; more colour is worse: "
                    f"empty from {_BEST_DB:g} dB on, full at {_WORST_DB:g} dB."
                ),
                wide(
                    _map(component, [it for it in table.layers() if it[0] == component], storages)
                ),
            )
            for component in table.components
        ),
        section("Where it is from", facts(_facts(table))),
    ]
    return document(
        f"{title} – edgegen",
        body,
        table,
        file_name="sensitivity.json",
        made="Made by edgegen sensitivity. Every figure above is computed from the raw data.",
    )


def csv(table: Sensitivity) -> str:
    """Return a line for each layer and storage."""
    rows: list[Sequence[CsvCell]] = [
        (component, name, layer.numbers, storage, table.bits[storage], loss, loss_psnr_db(loss))
        for component, name, layer in table.layers()
        for storage, loss in layer.losses.items()
    ]
    columns = ("component", "layer", "weights", "storage", "bits", "loss", "psnr_db")
    return csv_text(columns, rows)


def _badges(table: Sensitivity) -> list[tuple[str, str]]:
    case = table.cases[0]
    return [
        ("", f"{case.width} × {case.height}"),
        ("", case.scheduler),
        ("", f"guidance {case.guidance:g}"),
    ]


def _cards(table: Sensitivity) -> list[tuple[str, str, str]]:
    layers = list(table.layers())
    cost = table.cost
    numbers = sum(layer.numbers for _, _, layer in layers)
    return [
        ("Layers", f"{len(layers)}", f"{counted(len(table.components), 'component')}"),
        ("Weights", format_count(numbers), f"in {counted(len(lossy(table)), 'storage')} each"),
        ("Processor time", format_duration(cost.cpu_s), "to measure them all"),
        ("Peak memory", format_bytes(cost.peak_memory_bytes), "PSS of the process tree"),
    ]


def _bars(table: Sensitivity) -> Markup:
    """Draw the worst layers: a bar for each storage, from the best PSNR down to its own."""
    storages = one_for_each_size(table)
    worst = worst_first(table, storages)[:_WORST]
    height = _BAR_ROW * len(worst) * max(1, len(storages)) / 2 + 30
    parts: list[Markup] = []
    top = 26.0
    for place, name in enumerate(storages):
        x = _LABEL + place * 78.0
        parts.append(
            element("rect", x=x, y=4, width=10, height=10, rx=2, class_=f"part {_of(place)}")
        )
        parts.append(element("text", name, x=x + 14, y=13, class_="tick"))
    bar = _BAR_ROW / 2
    for component, name, layer in worst:
        label = _cut(f"{component} · {name}")
        middle = top + bar * len(storages) / 2 + 2
        parts.append(
            element("text", label, x=_LABEL - 8, y=middle, text_anchor="end", class_="tick")
        )
        for place, storage in enumerate(storages):
            loss = layer.losses[storage]
            length = max(1.0, _share(loss) * (_WIDTH - _LABEL - 70))
            y = top + place * bar
            tip = _tip(component, name, storage, loss)
            parts.append(
                element(
                    "rect",
                    x=_LABEL,
                    y=y,
                    width=length,
                    height=bar - 3,
                    rx=2,
                    class_=f"part {_of(place)}",
                    data_tip=tip,
                )
            )
            figure = format_decibels(loss_psnr_db(loss))
            parts.append(
                element("text", figure, x=_LABEL + length + 6, y=y + bar - 4, class_="tick")
            )
        top += bar * len(storages) + 8
    return drawing(_WIDTH, max(height, top), *parts, title="The layers that move pictures most")


def _map(component: str, layers: Sequence[Found], storages: Sequence[str]) -> Markup:
    """Draw a cell for each layer and storage."""
    step = (_WIDTH - _LABEL) / max(1, len(storages))
    parts = [
        element(
            "text",
            name,
            x=_LABEL + (place + 0.5) * step,
            y=14,
            text_anchor="middle",
            class_="tick",
        )
        for place, name in enumerate(storages)
    ]
    for row, (_, name, layer) in enumerate(layers):
        y = 22 + row * _ROW
        parts.append(
            element("text", _cut(name), x=_LABEL - 8, y=y + 12, text_anchor="end", class_="tick")
        )
        for place, storage in enumerate(storages):
            loss = layer.losses[storage]
            x = _LABEL + place * step
            cell = {"x": x, "y": y, "width": step - 2, "height": _ROW - 2, "rx": 2}
            tip = _tip(component, name, storage, loss)
            parts.append(element("rect", **cell, class_="cell", data_tip=tip))
            if (share := _share(loss)) > 0:
                parts.append(
                    element("rect", **cell, class_="heat", fill_opacity=share, data_tip=tip)
                )
    title = f"{component}: every layer in every storage"
    return drawing(_WIDTH, 22 + _ROW * len(layers) + 4, *parts, title=title)


def _share(loss: float) -> float:
    """Return how bad a loss is: 0 is nothing that anybody sees, 1 the worst that is told apart."""
    decibels = loss_psnr_db(loss)
    if decibels is None:
        return 0.0
    return min(max((_BEST_DB - decibels) / (_BEST_DB - _WORST_DB), 0.0), 1.0)


def _tip(component: str, name: str, storage: str, loss: float) -> str:
    return f"{component} {name}, {storage}: {format_decibels(loss_psnr_db(loss))}"


def _of(place: int) -> str:
    return f"s{place % 6}"


def _cut(label: str) -> str:
    """Return a label that fits: what is cut off is its middle, where layers are alike."""
    if len(label) <= _MOST_LETTERS:
        return label
    half = (_MOST_LETTERS - 1) // 2
    return f"{label[:half]}…{label[-half:]}"


def _facts(table: Sensitivity) -> list[tuple[str, str | Markup]]:
    prompts = [case.prompt for case in table.cases if case.prompt]
    rows: list[tuple[str, str | Markup]] = [
        ("Model", table.model),
        ("Weights SHA-256", table.weights_sha256),
        ("Seeds", ", ".join(str(case.seed) for case in table.cases)),
        ("Wall time", f"{three_digits(table.cost.wall_s)} s"),
    ]
    return [*rows, ("Prompts", "; ".join(prompts))] if prompts else rows
