"""The weights of one UniPC step (arXiv 2302.04867), as scalars."""

from __future__ import annotations

import numpy as np

from . import float32 as f32


def difference_weights(
    ratios: list[np.float32],
    signed_h: np.float32,
    phi: np.float32,
    scale: np.float32,
    *,
    corrects: bool,
) -> tuple[np.float32, ...]:
    """Return the weight of each earlier difference and, if it corrects, of the newest one.

    Solves the order conditions (equation 9 of the paper) in float32, as diffusers does; the lowest
    orders have a fixed weight.

    Args:
        ratios: Log-SNR of each earlier prediction, from the newest's, over that of the step.
        signed_h: Growth of half the log-SNR over the step; negated to work on the original sample.
        phi: ``expm1(signed_h)``.
        scale: B(h) of the paper, ``signed_h`` for bh1 and ``phi`` for bh2.
        corrects: Whether the prediction at the step's end is there too.
    """
    order = len(ratios) + 1
    if corrects and order == 1:
        return (f32.HALF,)
    if not corrects and order <= 2:
        return (f32.HALF,) * (order - 1)
    nodes = np.array([*ratios, f32.ONE], dtype=np.float32)
    rows, targets = [], []
    phi_k, factorial = phi / signed_h - f32.ONE, 1
    for power in range(order):
        rows.append(nodes**power)
        targets.append(phi_k * np.float32(factorial) / scale)
        factorial *= power + 2
        phi_k = phi_k / signed_h - np.float32(1 / factorial)
    matrix, vector = np.stack(rows), np.array(targets, dtype=np.float32)
    if not corrects:
        matrix, vector = matrix[:-1, :-1], vector[:-1]
    return tuple(np.linalg.solve(matrix, vector))
