"""Series of step latencies whose changes are known: simulated ones, and the file of real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RUN_S = 600.0
STEP_S = (0.02, 0.1, 0.5, 1.0, 2.0, 5.0)
"""Step latencies at the start: a small model on a GPU to SDXL on a phone's processor."""
NOISE = (0.01, 0.02, 0.03, 0.05)
"""Standard deviations of a step, as shares."""
RATIOS = (1.05, 1.1, 1.2, 1.3, 1.5, 2.0)
DRIFTS = (1.02, 1.03, 1.1, 1.2, 1.5, 2.0)
"""Over the whole run; what stays below 4 % is to be passed over."""
STEPS_AN_IMAGE = 20
GAP_STEPS = 2.0
"""Between two images: text and decode take as long as so many steps."""
AUTOCORRELATIONS: Mapping[str, float] = {"ar 0.6": 0.6, "ar 0.9": 0.9, "ar 0.95": 0.95}
"""Name of a noise -> autocorrelation of AR(1) from one step to the next."""
NOISES = ("white", *AUTOCORRELATIONS, "outliers", "bimodal")
SHAPES = ("none", "step", "ramp", "drift", "cycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueChange:
    """A change that was made: where it began, when it was complete, and after / before.

    `signal` is the height, as a logarithm, over its standard error for one who knows the places,
    the shapes and the noise, and has every step: below 5 or so, nobody can find it among all
    places. None where the noise is not known.
    """

    onset_s: float
    end_s: float
    ratio: float
    signal: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Steps of one run, and what is true of it; `step_s` is the latency before any change.

    `regular_s` are the latencies without the outliers and bursts, `spread` is their noise's
    standard deviation as a logarithm, `autocorrelation` that from one step to the next: what an
    oracle knows. None where nobody does.
    """

    shape: str
    noise: str
    step_s: float
    noise_share: float | None
    ratio: float
    changes: tuple[TrueChange, ...]
    end_s: tuple[float, ...] | Floats
    latency_s: tuple[float, ...] | Floats
    position: tuple[int, ...] | NDArray[np.int64]
    regular_s: Floats | None = None
    spread: float | None = None
    autocorrelation: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSeries:
    """A run of the runner that was slowed from a known moment; times from its first step on.

    `ratio` is what the stops of the process took, as measured; 1 where it was left alone.
    `load_average` is that of the minute before.
    """

    wanted_ratio: float
    ratio: float
    onset_s: float | None
    load_average: float
    end_s: tuple[float, ...]
    latency_s: tuple[float, ...]
    position: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSeriesFile:
    """What `throttling_real.py` writes."""

    machine: str
    command: str
    series: tuple[RealSeries, ...]


def simulate(shape: str, noise: str, number: int, seed: int) -> Series:
    """Make series `number` of a kind; step latency, noise and ratio go round with the number."""
    places = [SHAPES.index(shape), NOISES.index(noise), number]
    generator = np.random.default_rng([seed, *places])
    ratios = DRIFTS if shape == "drift" else RATIOS
    ratio = 1.0 if shape == "none" else ratios[number % len(ratios)]
    rank, turn = number % len(ratios), number // len(ratios)
    step_s = STEP_S[turn % len(STEP_S)]
    # Shifted in each row and column of a round: a part of a round has all noises, too.
    share = NOISE[(rank + turn % len(STEP_S) + turn // len(STEP_S)) % len(NOISE)]
    count = round(RUN_S / step_s)
    factor, spans = _levels(generator, shape, ratio, count)
    regular, irregular = _noise(generator, noise, share, count, step_s)
    noise_factor = regular * irregular
    latency = step_s * factor * noise_factor
    spread = float(np.std(np.log(regular))) if noise == "bimodal" else share
    signals = _signals(spans, count, spread, AUTOCORRELATIONS.get(noise, 0.0))
    position = np.arange(count) % STEPS_AN_IMAGE
    gaps = np.where(position == 0, GAP_STEPS * step_s * factor, 0.0)
    end_s = np.cumsum(latency + gaps)
    return Series(
        shape=shape,
        noise=noise,
        step_s=step_s,
        noise_share=share,
        ratio=ratio,
        changes=tuple(
            TrueChange(
                onset_s=float(end_s[first] - latency[first]),
                end_s=float(end_s[min(last, count - 1)]),
                ratio=height,
                signal=signal,
            )
            for (first, last, height), signal in zip(spans, signals, strict=True)
        ),
        end_s=end_s,
        latency_s=latency,
        position=position,
        regular_s=step_s * factor * regular,
        spread=spread,
        autocorrelation=AUTOCORRELATIONS.get(noise, 0.0),
    )


def from_real(series: RealSeries) -> Series:
    """Return a real series in the form of a simulated one."""
    changes: tuple[TrueChange, ...] = ()
    if series.onset_s is not None:
        changes = (TrueChange(onset_s=series.onset_s, end_s=series.onset_s, ratio=series.ratio),)
    return Series(
        shape="step" if changes else "none",
        noise="real",
        step_s=float(np.median(series.latency_s[: max(1, len(series.latency_s) // 4)])),
        noise_share=None,
        ratio=series.wanted_ratio,
        changes=changes,
        end_s=series.end_s,
        latency_s=series.latency_s,
        position=series.position,
    )


def _levels(
    generator: np.random.Generator, shape: str, ratio: float, count: int
) -> tuple[Floats, list[tuple[int, int, float]]]:
    """Return each step's factor, and the changes as (first step, last step, ratio)."""
    at = np.arange(count, dtype=np.float64)
    if shape == "step":
        first = int(generator.uniform(0.2, 0.75) * count)
        return np.where(at >= first, ratio, 1.0), [(first, first, ratio)]
    if shape == "ramp":  # over 20 s to 2 min
        first = int(generator.uniform(0.15, 0.65) * count)
        length = max(2, round(generator.uniform(20, 120) / RUN_S * count))
        rise = np.clip((at - first + 1) / length, 0.0, 1.0)
        return 1 + (ratio - 1) * rise, [(first, first + length - 1, ratio)]
    if shape == "drift":
        return 1 + (ratio - 1) * at / (count - 1), [(0, count - 1, ratio)]
    if shape == "cycle":  # throttled, recovered, throttled again; each for 1 to 3 minutes
        parts = generator.uniform(60, 180, 4)
        edges = (np.cumsum(parts / parts.sum())[:3] * count).astype(int)
        slow = (np.searchsorted(edges, at, side="right") % 2).astype(bool)
        heights = (ratio, 1 / ratio, ratio)
        return np.where(slow, ratio, 1.0), [
            (int(edge), int(edge), height) for edge, height in zip(edges, heights, strict=True)
        ]
    return np.ones(count), []


def _signals(
    spans: list[tuple[int, int, float]], count: int, spread: float, rho: float
) -> list[float]:
    """Return each change's height over its standard error by generalised least squares."""
    if not spans:
        return []
    at = np.arange(count, dtype=np.float64)
    shapes = [np.clip((at - first + 1) / (last - first + 1), 0, 1) for first, last, _ in spans]
    columns = np.stack([np.ones(count), *shapes], axis=1)
    whitened = (columns[1:] - rho * columns[:-1]) / math.sqrt(1 - rho * rho)
    whitened = np.concatenate([columns[:1], whitened])
    errors = spread * np.sqrt(np.diag(np.linalg.inv(whitened.T @ whitened)))[1:]
    heights = [abs(math.log(ratio)) for *_, ratio in spans]
    return [float(height / error) for height, error in zip(heights, errors, strict=True)]


def _noise(
    generator: np.random.Generator, noise: str, share: float, count: int, step_s: float
) -> tuple[Floats, Floats]:
    """Return factors around 1, and those of outliers and bursts."""
    rho = AUTOCORRELATIONS.get(noise, 0.0)
    memory = 1 if rho == 0.0 else int(np.ceil(np.log(1e-6) / np.log(rho)))
    fresh = generator.standard_normal(count + memory - 1)
    weights = rho ** np.arange(memory) * np.sqrt(1 - rho * rho)
    factors = np.exp(share * np.convolve(fresh, weights, mode="valid"))
    irregular = np.ones(count)
    if noise == "outliers":
        # 2 % of the steps take up to five times as long, and twice something else takes over.
        slow = generator.random(count) < 0.02
        irregular[slow] *= generator.uniform(1.3, 5.0, int(slow.sum()))
        for _ in range(2):
            first = int(generator.integers(0, count))
            burst = max(1, round(generator.uniform(1.0, 4.0) / step_s))
            irregular[first : first + burst] *= 2.0
    elif noise == "bimodal":  # the scheduler's choice of a core, say, anew for each step
        slow = generator.random(count) < generator.uniform(0.1, 0.5)
        factors[slow] *= generator.uniform(1.05, 1.15)
    return factors, irregular
