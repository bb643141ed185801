"""What a picture costs on a device, from an API and on a rented GPU, and where they break even.

Arithmetic on values only. Prices are given by people, with the day on which they held: nothing here
knows one. Money is never converted: all prices are in one currency.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from edgegen.core.errors import ConfigError

Per = Literal["picture", "h", "kWh", "once"]
Origin = Literal["measured", "given"]

JOULES_PER_KWH = 3.6e6
LARGEST_AMOUNT = 1e12
SMALLEST_AMOUNT = 1e-12
OLD_DAYS = 180
"""Prices that are older are pointed out."""

_PRICE = re.compile(
    r"(?P<amount>\d+(?:\.\d+)?)\s*(?P<currency>[A-Z]{3})"
    r"(?:/(?P<per>[A-Za-z]+))?@(?P<day>\d{4}-\d{2}-\d{2})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """An amount of a currency (ISO 4217) for a unit, as it was on a day (ISO 8601)."""

    amount: float
    currency: str
    per: Per
    day: str

    @property
    def text(self) -> str:
        """Return it as people type it, without the day: `0.30 EUR/kWh`."""
        unit = "" if self.per == "once" else f"/{self.per}"
        return f"{self.amount:g} {self.currency}{unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A value of the device: measured, or given by a person. `source` says by what, in words."""

    value: float
    origin: Origin
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """How others make a picture, and what one costs. `how` says what that is made of."""

    name: str
    picture: float
    how: str
    days: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """From how many pictures on the device is cheaper than an offer.

    `pictures` is 0 where it is from the first on, and None where it never is. `device_s` is the
    time that the device draws for so many, None where its latency is unknown.
    """

    offer: str
    pictures: int | None
    device_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """A picture on the device beside offers, in one currency; `fixed` is what is paid once."""

    currency: str
    device: Offer
    fixed: float
    energy_j: Quantity
    latency_s: Quantity | None
    offers: tuple[Offer, ...]
    break_even: tuple[BreakEven, ...]
    notes: tuple[str, ...]


def parse_price(text: str, per: Per, option: str) -> Price:
    """Read `0.30EUR/kWh@2026-11-01`; a price that is paid once has no unit.

    Raises ConfigError that shows how `option` is written.
    """
    example = {
        "picture": "0.003USD/picture@2026-11-01",
        "h": "1.20USD/h@2026-11-01",
        "kWh": "0.30EUR/kWh@2026-11-01",
        "once": "80EUR@2026-11-01",
    }[per]
    match = _PRICE.fullmatch(text.strip())
    if match is None or (match["per"] or "once") != per:
        why = "" if "@" in text else ": it says no day on which that was the price"
        raise ConfigError(
            f"{option}: '{text}' is no price{why}.", hint=f"Write it as {option} {example}."
        )
    amount = float(match["amount"])
    try:
        date.fromisoformat(match["day"])
    except ValueError as error:
        raise ConfigError(
            f"{option}: {match['day']} is no day.", hint=f"Write it as {option} {example}."
        ) from error
    if amount > LARGEST_AMOUNT:
        raise ConfigError(f"{option}: '{text}' is too much.", hint=f"Write it as {example}.")
    if amount < SMALLEST_AMOUNT and re.search(r"[1-9]", match["amount"]):
        raise ConfigError(f"{option}: '{text}' is too little.", hint=f"Write it as {example}.")
    return Price(amount=amount, currency=match["currency"], per=per, day=match["day"])


def compare_costs(
    *,
    energy_j: Quantity,
    electricity: Price,
    latency_s: Quantity | None = None,
    paid_once: Sequence[Price] = (),
    api: Price | None = None,
    gpu: Price | None = None,
    gpu_latency_s: float | None = None,
    gpu_use: float = 1.0,
    today: date,
) -> Costs:
    """Compare a picture on the device with the offers that are given.

    `energy_j` is that of one picture. `gpu_use` is the share of the rented hours in which the GPU
    draws. Raises ConfigError where no offer is given, a GPU's latency is missing, currencies
    differ, or a figure is not above 0.
    """
    prices = [electricity, *paid_once, *(price for price in (api, gpu) if price is not None)]
    currency = _one_currency(prices)
    _check_positive(energy_j, latency_s, gpu_latency_s, gpu_use)
    offers = _offers(api, gpu, gpu_latency_s, gpu_use)
    device = Offer(
        name="this device",
        picture=energy_j.value / JOULES_PER_KWH * electricity.amount,
        how=f"{energy_j.value:.4g} J ({energy_j.origin}) at {electricity.text}",
        days=(electricity.day,),
    )
    fixed = sum(price.amount for price in paid_once)
    return Costs(
        currency=currency,
        device=device,
        fixed=fixed,
        energy_j=energy_j,
        latency_s=latency_s,
        offers=offers,
        break_even=tuple(_break_even(device, fixed, offer, latency_s) for offer in offers),
        notes=_notes(prices, gpu, gpu_use, today),
    )


def _offers(
    api: Price | None, gpu: Price | None, gpu_latency_s: float | None, gpu_use: float
) -> tuple[Offer, ...]:
    offers = []
    if api is not None:
        offers.append(
            Offer(name="API", picture=api.amount, how=f"{api.text} (given)", days=(api.day,))
        )
    if gpu is not None:
        if gpu_latency_s is None:
            raise ConfigError(
                "How long the GPU takes for a picture is missing.",
                hint="Give --gpu-latency, as it was measured there: --gpu-latency 0.8s.",
            )
        offers.append(
            Offer(
                name="rented GPU",
                picture=gpu.amount * gpu_latency_s / 3600 / gpu_use,
                how=f"{gpu_latency_s:g} s (given) at {gpu.text}, {100 * gpu_use:g} % in use",
                days=(gpu.day,),
            )
        )
    if not offers:
        raise ConfigError(
            "There is nothing to compare with.",
            hint="Give --api-price 0.003USD/picture@DAY, or --gpu-price 1.20USD/h@DAY with "
            "--gpu-latency 0.8s.",
        )
    return tuple(offers)


def _break_even(device: Offer, fixed: float, offer: Offer, latency_s: Quantity | None) -> BreakEven:
    """Return the least number of pictures n with fixed + n · device < n · offer."""
    saved = offer.picture - device.picture
    if saved <= 0:
        return BreakEven(offer=offer.name, pictures=None)
    pictures = 0 if fixed == 0 else math.floor(fixed / saved) + 1
    device_s = None if latency_s is None else pictures * latency_s.value
    return BreakEven(offer=offer.name, pictures=pictures, device_s=device_s)


def _one_currency(prices: Sequence[Price]) -> str:
    currencies = sorted({price.currency for price in prices})
    if len(currencies) > 1:
        raise ConfigError(
            f"The prices are in {' and '.join(currencies)}.",
            hint="Give all in one currency, by the rate of your own choice and day.",
        )
    return currencies[0]


_BETWEEN = f"Give a number above 0, between {SMALLEST_AMOUNT:g} and {LARGEST_AMOUNT:g}."


def _check_positive(
    energy_j: Quantity, latency_s: Quantity | None, gpu_latency_s: float | None, gpu_use: float
) -> None:
    figures = {
        "The energy of a picture": energy_j.value,
        "The latency": None if latency_s is None else latency_s.value,
        "The GPU's latency": gpu_latency_s,
        "The GPU's use": gpu_use,
    }
    for name, value in figures.items():
        if value is not None and not SMALLEST_AMOUNT <= value <= LARGEST_AMOUNT:
            raise ConfigError(f"{name} is {value:g}.", hint=_BETWEEN)
    if gpu_use > 1:
        raise ConfigError(f"The GPU's use is {gpu_use:g}.", hint="Give a share of one: 0.5.")


def _notes(
    prices: Sequence[Price], gpu: Price | None, gpu_use: float, today: date
) -> tuple[str, ...]:
    notes = ["Energy is the device's only: the network, a charger's losses and wear are not in it."]
    if gpu is not None and gpu_use == 1.0:
        notes.append("The GPU draws all the time that it is rented; --gpu-use 0.5 halves that.")
    old = sorted({p.day for p in prices if (today - date.fromisoformat(p.day)).days > OLD_DAYS})
    if old:
        notes.append(f"Prices of {', '.join(old)} are more than half a year old.")
    coming = sorted({price.day for price in prices if date.fromisoformat(price.day) > today})
    if coming:
        notes.append(f"Prices of {', '.join(coming)} are of days to come.")
    return tuple(notes)
