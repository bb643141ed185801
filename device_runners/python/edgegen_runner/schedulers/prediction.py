"""From what a model predicts to the original sample or the noise, and limits on the former.

A sample is ``alpha * original + sigma * noise``; v is ``alpha * noise - sigma * original``
(arXiv 2202.00512).
"""

from __future__ import annotations

import math

import numpy as np

from . import float32 as f32
from .base import Array
from .options import ClipOptions, ThresholdOptions


def original_from(
    prediction_type: str, model_output: Array, sample: Array, alpha: np.float32, sigma: np.float32
) -> Array:
    """Return the original sample that an epsilon, sample or v prediction means."""
    if prediction_type == "epsilon":
        original = sample - sigma * model_output
        original /= alpha
        return original
    if prediction_type == "v_prediction":
        return alpha * sample - sigma * model_output
    return model_output


def original_of_flow_or_from(
    prediction_type: str,
    model_output: Array,
    sample: Array,
    alpha: np.float32,
    sigma: np.float32,
    level: np.float32,
) -> Array:
    """Return the original that any prediction means; a flow's is taken at its noise level."""
    if prediction_type == "flow_prediction":
        return sample - level * model_output
    return original_from(prediction_type, model_output, sample, alpha, sigma)


def noise_from(
    prediction_type: str, model_output: Array, sample: Array, alpha: np.float32, sigma: np.float32
) -> Array:
    """Return the noise that an epsilon, sample or v prediction means."""
    if prediction_type == "sample":
        noise = sample - alpha * model_output
        noise /= sigma
        return noise
    if prediction_type == "v_prediction":
        return alpha * model_output + sigma * sample
    return model_output


def original_at_sigma(
    prediction_type: str, model_output: Array, sample: Array, sigma: np.float32
) -> Array:
    """Return the original sample, where the sample is ``original + sigma * noise``."""
    if prediction_type == "epsilon":
        return sample - sigma * model_output
    if prediction_type == "v_prediction":
        variance = sigma * sigma + f32.ONE
        original = model_output * (-sigma / f32.sqrt(variance))
        original += sample / variance
        return original
    return model_output


def limited(original: Array, options: ClipOptions) -> Array:
    """Return the predicted original sample thresholded, clipped, or as it is."""
    if options.thresholding:
        return thresholded(original, options)
    if options.clip_sample:
        bound = np.float32(options.clip_sample_range)
        return np.clip(original, -bound, bound)
    return original


def thresholded(original: Array, options: ThresholdOptions) -> Array:
    """Return each image clipped to a percentile of its magnitudes and divided by it.

    Dynamic thresholding of Imagen (arXiv 2205.11487, section 2.3).
    """
    flat = original.reshape(len(original), -1)
    bounds = _quantiles(np.abs(flat), options.dynamic_thresholding_ratio)
    bounds = np.minimum(np.maximum(bounds, f32.ONE), np.float32(options.sample_max_value))
    bounds = bounds[:, np.newaxis]
    return (np.clip(flat, -bounds, bounds) / bounds).reshape(original.shape)


def _quantiles(values: Array, ratio: float) -> Array:
    """Return ``torch.quantile`` of each row, which finds and weighs the rank in float32."""
    last = values.shape[1] - 1
    rank = float(np.float32(ratio) * np.float32(last))
    below, above = math.floor(rank), math.ceil(rank)
    ordered = np.partition(values, sorted({below, above}), axis=1)
    weight = np.float32(rank - below)
    low, high = ordered[:, below], ordered[:, above]
    return low + weight * (high - low)
