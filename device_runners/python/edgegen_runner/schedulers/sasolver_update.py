"""The weights of one step of SA-Solver (arXiv 2309.05019), as scalars in diffusers' order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import float32 as f32

_THREE = np.float32(3)
_SIX = np.float32(6)


@dataclass(frozen=True)
class Span:
    """Half the log-SNR where a step begins and ends."""

    start: np.float32
    end: np.float32

    @property
    def length(self) -> np.float32:
        """Return by how much it grows."""
        return self.end - self.start


def gradient_weights(
    nodes: Sequence[np.float32],
    span: Span,
    tau_squared: np.float32,
    *,
    original: bool,
    predicts: bool,
) -> list[np.float32]:
    """Return the weight of each prediction, the newest first.

    Args:
        nodes: Half the log-SNR of each prediction, one to four.
        span: The step.
        tau_squared: How stochastic it is.
        original: The predictions are of the original sample, not of the noise.
        predicts: The newest prediction is where the step begins, not where it ends.
    """
    highest = len(nodes) - 1
    integrals = [
        _grown(power, span, f32.ONE + tau_squared) if original else _shrunk(power, span)
        for power in range(highest, -1, -1)
    ]
    weights = []
    for place, own in enumerate(nodes):
        others = [*nodes[:place], *nodes[place + 1 :]]
        weight = f32.ZERO
        for coefficient, integral in zip(_lagrange(own, others), integrals):
            weight = weight + coefficient * integral
        weights.append(weight)
    if original and len(nodes) == 2:
        moved = _second_order_term(nodes, span, f32.ONE + tau_squared, predicts=predicts)
        weights = [weights[0] + moved, weights[1] - moved]
    return weights


def _second_order_term(
    nodes: Sequence[np.float32], span: Span, rate: np.float32, *, predicts: bool
) -> np.float32:
    """Return what the second order takes from the older prediction and gives to the newer."""
    h, scale = span.length, f32.exp(rate * span.end)
    rest = h * rate - f32.ONE + f32.exp(rate * -h)
    if predicts:
        return scale * (h * h / f32.TWO - rest / (rate * rate)) / (nodes[0] - nodes[1])
    return scale * (h / f32.TWO - rest / (rate * rate * h))


def _lagrange(own: np.float32, others: Sequence[np.float32]) -> list[np.float32]:
    """Return the coefficients of the polynomial that is 1 at a node, the highest power first."""
    if not others:
        return [f32.ONE]
    scale = f32.ONE
    for other in others:
        scale = scale * (own - other)
    if len(others) == 1:
        tops = [f32.ONE, -others[0]]
    elif len(others) == 2:
        a, b = others
        tops = [f32.ONE, -a - b, a * b]
    else:
        a, b, c = others
        tops = [f32.ONE, -a - b - c, a * b + a * c + b * c, -a * b * c]
    return [top / scale for top in tops]


def _shrunk(power: int, span: Span) -> np.float32:
    """Return the integral of ``x**power * exp(-x)`` over the span."""
    growth = f32.exp(span.end - span.start)
    if power == 0:
        return f32.exp(-span.end) * (growth - f32.ONE)
    return f32.exp(-span.end) * (_rising(power, span.start) * growth - _rising(power, span.end))


def _rising(power: int, x: np.float32) -> np.float32:
    if power == 1:
        return x + f32.ONE
    if power == 2:
        return x * x + f32.TWO * x + f32.TWO
    return x * x * x + _THREE * (x * x) + _SIX * x + _SIX


def _grown(power: int, span: Span, rate: np.float32) -> np.float32:
    """Return the integral of ``x**power * exp(rate * x)`` over the span, times ``rate``."""
    start, end = rate * span.start, rate * span.end
    shrinking = f32.exp(-(end - start))
    scale = rate
    for _ in range(power):
        scale = scale * rate
    if power == 0:
        return f32.exp(end) * (f32.ONE - shrinking) / scale
    return f32.exp(end) * (_falling(power, end) - _falling(power, start) * shrinking) / scale


def _falling(power: int, x: np.float32) -> np.float32:
    if power == 1:
        return x - f32.ONE
    if power == 2:
        return x * x - f32.TWO * x + f32.TWO
    return x * x * x - _THREE * (x * x) + _SIX * x - _SIX
