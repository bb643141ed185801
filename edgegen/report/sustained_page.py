"""The page's parts on sustained runs and on energy."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.measurement import StartTemperature
from edgegen.core.units import format_joules, format_latency, format_moment
from edgegen.report.blocks import cards, explain, section, table_markup, wide
from edgegen.report.sustained import (
    VERDICTS,
    energy_source,
    energy_table,
    highest_temperature,
    onset,
    rate,
    ratio_texts,
    sustained_table,
    verdict_sentence,
)
from edgegen.report.svg import Markup, element
from edgegen.report.time_chart import MOST_DOTS, time_chart
from edgegen.report.timeline import timeline
from edgegen.statistics.energy import ImageEnergy
from edgegen.statistics.sustained import Sustained, outermost, part_latencies

_NOTES_OF_REST = "Nothing was subtracted: the figures hold what the device takes at rest."


def sustained_section(
    sustained: Sustained,
    start: StartTemperature | None,
    energies: Sequence[ImageEnergy],
    *,
    of: str = "",
) -> Markup:
    """Return the verdict, the main figures, the chart over time and the table.

    `of` names the package where a page has several.
    """
    drawn = timeline(sustained, energies)
    word, colon, text = verdict_sentence(sustained).partition(":")
    chart = [] if drawn is None else [explain(_what_is_drawn(sustained)), wide(time_chart(drawn))]
    return element(
        "section",
        element("h2", f"Sustained: {of}" if of else "Sustained"),
        element("p", element("strong", word), colon, text, class_=f"verdict {_mood(sustained)}"),
        cards(_cards(sustained, energies)),
        *([element("div", *chart, class_="card")] if chart else []),
        element(
            "div",
            table_markup(sustained_table(sustained, start, energies)),
            class_="card",
        ),
        class_="sustained",
    )


def emulated_section(texts: Sequence[str]) -> Markup:
    """Return what an emulated processor's sustained runs did, without times."""
    told = (element("p", text, class_="verdict warn") for text in texts)
    return section("Sustained", *told, plain=True)


def energy_section(energies: Sequence[ImageEnergy]) -> Markup:
    if not energies:
        return Markup("")
    rest = f" {_NOTES_OF_REST}" if all(energy.idle_w is None for energy in energies) else ""
    return section(
        "Energy of an image",
        explain(
            "What each sensor saw while images were made, warm-ups left out, divided by their "
            f"number. One that is part of another must not be added to it.{rest}"
        ),
        table_markup(energy_table(energies)),
    )


def energy_cards(energies: Sequence[ImageEnergy]) -> list[tuple[str, str, str]]:
    """Return a card for the sensor that contains all others; none where no sensor does."""
    tops = outermost(energies)
    if len(tops) != 1:
        return []
    return [("Energy an image", format_joules(tops[0].image_j), energy_source(tops[0], energies))]


def _cards(sustained: Sustained, energies: Sequence[ImageEnergy]) -> list[tuple[str, str, str]]:
    judgement = sustained.judgement
    start, end = judgement.start_images_per_minute, judgement.end_images_per_minute
    shown = []
    if start is not None and end is not None:
        shown += [
            ("At the start", f"{rate(start)} / min", "images, in the first fifth"),
            ("At the end", f"{rate(end)} / min", f"{100 * end / start:.0f} % of the start's"),
        ]
    shown += _latency_cards(sustained)
    change = judgement.slowdown
    if change is not None:
        ratio, low, high = ratio_texts(change.ratio, change.ratio_low, change.ratio_high)
        shown.append(
            (
                f"{VERDICTS[judgement.verdict].partition(',')[0]} after",
                onset(change, sustained.zero_s),
                f"steps × {ratio} ({low} … {high})",
            )
        )
    shown += energy_cards(energies)
    hottest = highest_temperature(sustained)
    if hottest is not None:
        shown.append(("Highest temperature", f"{hottest[1]:.1f} °C", hottest[0]))
    return [
        ("Images", str(len(sustained.images)), f"in {format_moment(sustained.duration_s)}"),
        *shown,
    ]


def _latency_cards(sustained: Sustained) -> list[tuple[str, str, str]]:
    """Return what an image and a step take: at the end, with the start beside it."""
    parts = part_latencies(sustained)
    if not parts:
        return []
    last, first = parts[-1], parts[0]
    if last.part == "whole":
        image, step = f"median of {last.images}", f"median of {last.steps}"
    else:
        image = f"at the end; {format_latency(first.image_s)} at the start"
        step = f"at the end; {format_latency(first.step_s)} at the start"
    cards_of = [("Image", format_latency(last.image_s), image)]
    return (
        cards_of
        if last.step_s is None
        else [*cards_of, ("Step", format_latency(last.step_s), step)]
    )


def _what_is_drawn(sustained: Sustained) -> str:
    steps = sustained.judgement.steps
    dots = (
        "Each dot is a step, the few longest on the upper edge"
        if steps <= MOST_DOTS
        else "The line is the median of the steps, the band behind it holds 80 % of them"
    )
    text = f"{dots}; the thick line is the fitted level. Time 0 is the start of the first image."
    if sustained.judgement.slowdown is not None:
        text += " The upright line is where steps became slower, the band its 95 % interval."
    changes = sustained.judgement.changes
    if changes is not None and any(c != sustained.judgement.slowdown for c in changes.changes):
        text += " Dashed lines are other changes."
    return text


def _mood(sustained: Sustained) -> str:
    return {"steady": "good", "flagged": "calm"}.get(sustained.judgement.verdict, "warn")
