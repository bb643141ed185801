"""`edgegen cost`: a picture on a device, beside one from an API or a rented GPU."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.command import command
from edgegen.cli.console import Cell, Console
from edgegen.cli.numbers import NUMBER
from edgegen.cli.text import TEXT
from edgegen.cli.typed_options import refuse_typed

if TYPE_CHECKING:
    from edgegen.core.measurement import Measurement
    from edgegen.cost import Costs, Quantity


class _Amount(click.ParamType[float]):
    """A number with a unit that has to be written; the value is in the SI unit."""

    name = "amount"

    def __init__(self, units: dict[str, float], example: str) -> None:
        self._units = units
        self._example = example

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the value, or fail with an example."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", str(value).strip())
        unit = 0.0 if match is None else self._units.get(match[2], 0.0)
        amount = 0.0 if match is None else float(match[1]) * unit
        if not 0 < amount < math.inf:
            self.fail(f"'{value}' has to be a number with a unit: {self._example}.", param, ctx)
        return amount


_POWER = _Amount({"W": 1.0, "mW": 1e-3, "kW": 1e3}, "6W")
_TIME = _Amount({"s": 1.0, "ms": 1e-3, "min": 60.0}, "0.8s")


@command(
    examples=(
        "edgegen cost bench.json --electricity 0.30EUR/kWh@2026-11-01 "
        "--api-price 0.003EUR/picture@2026-11-01 --device-price 80EUR@2026-11-01",
        "edgegen cost --power 6W --latency 2.4s --electricity 0.30EUR/kWh@2026-11-01 "
        "--gpu-price 1.20EUR/h@2026-11-01 --gpu-latency 0.8s",
    ),
    groups={
        "The device": (
            "power",
            "latency",
            "model",
            "device",
            "electricity",
            "device_price",
            "fixed",
        ),
        "What it is compared with": ("api_price", "gpu_price", "gpu_latency", "gpu_use"),
        "The result": ("as_json",),
    },
    ends_with=("IntegrityError", "ResourceError"),
)
@click.argument("measurement", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--power", type=_POWER, metavar="6W", help="What the device takes; default: as measured."
)
@click.option("--latency", type=_TIME, metavar="2.4s", help="Of a picture; default: as measured.")
@click.option(
    "--model", type=TEXT, metavar="TEXT", help="Take the latest of this model in the history."
)
@click.option(
    "--device", "-d", type=TEXT, metavar="TEXT", help="Take the latest of this device there."
)
@click.option(
    "--electricity",
    required=True,
    metavar="PRICE@DAY",
    help="0.30EUR/kWh@2026-11-01. Every price needs the day on which it held.",
)
@click.option(
    "--device-price", metavar="PRICE@DAY", help="What the device costs: 80EUR@2026-11-01."
)
@click.option("--fixed", metavar="PRICE@DAY", help="What else is paid once, on the device's side.")
@click.option("--api-price", metavar="PRICE@DAY", help="0.003USD/picture@2026-11-01.")
@click.option("--gpu-price", metavar="PRICE@DAY", help="1.20USD/h@2026-11-01.")
@click.option("--gpu-latency", type=_TIME, metavar="0.8s", help="What a picture takes there.")
@click.option(
    "--gpu-use",
    type=NUMBER,
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="In which share of the rented time it draws.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
@click.pass_context
def cost(
    context: click.Context,
    /,
    measurement: Path | None,
    power: float | None,
    latency: float | None,
    model: str | None,
    device: str | None,
    gpu_latency: float | None,
    gpu_use: float,
    as_json: bool,
    **prices: str | None,
) -> None:
    """Compare what a picture costs: on a device, from an API, on a rented GPU.

    The energy is that of MEASUREMENT, a file of `edgegen bench --json-file`, or of the latest
    measurement in the history that --model and --device choose; or --power times --latency.
    Prices are yours: edgegen knows none, and converts no currency.
    """
    from datetime import UTC, datetime

    from edgegen.cost import compare_costs, parse_price

    def price(name: str, per: Any) -> Any:
        text = prices[name]
        return None if text is None else parse_price(text, per, f"--{name.replace('_', '-')}")

    console = context.find_object(Console) or Console()
    if prices["gpu_price"] is None:
        refuse_typed(context, ("gpu_latency", "gpu_use"), "without --gpu-price no GPU is rented.")
    once = [price("device_price", "once"), price("fixed", "once")]
    asked = {
        "electricity": price("electricity", "kWh"),
        "paid_once": [each for each in once if each is not None],
        "api": price("api_price", "picture"),
        "gpu": price("gpu_price", "h"),
    }
    measured = _measured(measurement, model, device)
    latency_s = _latency(latency, measured)
    found = compare_costs(
        energy_j=_energy(power, latency_s, measured),
        latency_s=latency_s,
        gpu_latency_s=gpu_latency,
        gpu_use=gpu_use,
        today=datetime.now(UTC).date(),
        **asked,
    )
    if as_json:
        console.json(found)
    else:
        _show(console, found)


def _measured(
    file: Path | None, model: str | None, device: str | None
) -> tuple[Measurement, str] | None:
    """Return the measurement that was chosen, and what it is called; None where none was."""
    from edgegen.core.codec import load_json
    from edgegen.core.errors import ConfigError
    from edgegen.core.measurement import Measurement

    if file is not None:
        if model is not None or device is not None:
            raise ConfigError(
                "A file and --model or --device are two measurements.", hint="Give one of them."
            )
        return load_json(Measurement, file), file.name
    if model is None and device is None:
        return None
    from edgegen.history.record import Query
    from edgegen.history.store import History

    with History.open() as history:
        record = history.latest_for(Query(model=model, device=device))
        if record is None:
            raise ConfigError(
                "The history has no complete measurement of that.",
                hint="See `edgegen history`; `edgegen bench` adds to it.",
            )
        return history.measurement(record), f"history, {record.started_at[:10]}"


def _latency(latency_s: float | None, measured: tuple[Measurement, str] | None) -> Quantity | None:
    from edgegen.cost import Quantity
    from edgegen.statistics.series import all_series

    if latency_s is not None:
        return Quantity(value=latency_s, origin="given", source="--latency")
    if measured is None or measured[0].environment.emulated:
        return None
    steady = all_series(measured[0]).get("steady_image")
    if steady is None:
        return None
    return Quantity(value=steady.summary.median, origin="measured", source=measured[1])


def _energy(
    power_w: float | None,
    latency_s: Quantity | None,
    measured: tuple[Measurement, str] | None,
) -> Quantity:
    """Return the energy of a picture: measured, or power times latency."""
    from edgegen.core.errors import ConfigError
    from edgegen.cost import Quantity
    from edgegen.statistics.energy import image_energies, whole

    if power_w is not None:
        if latency_s is None:
            raise ConfigError(
                "--power needs the time of a picture.",
                hint="Give --latency 2.4s, or a measurement that has steady images.",
            )
        return Quantity(
            value=power_w * latency_s.value,
            origin="given",
            source=f"--power times latency ({latency_s.origin})",
        )
    if measured is None:
        raise ConfigError(
            "What a picture takes on the device is unknown.",
            hint="Give a file of `edgegen bench --json-file`, or --power 6W --latency 2.4s.",
        )
    found = None if measured[0].environment.emulated else whole(image_energies(measured[0]))
    if found is None:
        raise ConfigError(
            f"{measured[1]} has no sensor that sees all of the device.",
            hint="Give what it takes, as a wall meter shows it: --power 6W.",
        )
    return Quantity(value=found.image_j, origin="measured", source=f"{measured[1]}, {found.sensor}")


def _show(console: Console, found: Costs) -> None:
    currency = found.currency
    rows: list[list[Cell]] = [
        [offer.name, _money(offer.picture, currency), offer.how, ", ".join(offer.days)]
        for offer in (found.device, *found.offers)
    ]
    notes = [f"Energy: {found.energy_j.source}.", *found.notes]
    console.table("A picture", ("", "costs", "what that is", "price of"), rows, notes)
    console.print()
    even: list[list[Cell]] = []
    for each in found.break_even:
        if each.pictures is None:
            told, time = "never: a picture costs more here", None
        elif each.pictures == 0:
            told, time = "from the first picture", None
        else:
            told = f"{each.pictures:,} pictures"
            time = _time(each.device_s)
        even.append([each.offer, told, time])
    title = f"Where the device is cheaper, with {_money(found.fixed, currency)} paid once"
    console.table(title, ("than", "from", "the device draws for"), even)


def _time(duration_s: float | None) -> str | None:
    from edgegen.core.units import format_duration, three_digits

    if duration_s is None or duration_s < 172_800:
        return None if duration_s is None else format_duration(duration_s)
    return f"{three_digits(duration_s / 86_400)} days"


def _money(amount: float, currency: str) -> str:
    from edgegen.core.units import three_digits

    return f"{three_digits(amount)} {currency}"
