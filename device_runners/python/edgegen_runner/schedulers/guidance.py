"""Classifier-free guidance of a model's two predictions, or of three."""

from __future__ import annotations

import numpy as np

from .base import Array


def classifier_free_guidance(uncond: Array, cond: Array, scale: float) -> Array:
    """Return ``uncond + scale * (cond - uncond)`` (arXiv 2207.12598, in diffusers' convention).

    Args:
        uncond: Prediction for the negative prompt: (batch, channels, height, width).
        cond: Prediction for the prompt, of the same shape.
        scale: Guidance scale; 1 gives ``cond``.
    """
    guided = cond - uncond
    guided *= np.float32(scale)
    guided += uncond
    return guided


def guidance_by_picture(
    blind: Array, uncond: Array, cond: Array, scale: float, picture_scale: float
) -> Array:
    """Return the prediction of a model that edits a picture (arXiv 2211.09800, equation 3).

    Args:
        blind: Prediction for the negative prompt without the picture, (batch, channels, height,
            width).
        uncond: Prediction for the negative prompt with the picture, of the same shape.
        cond: Prediction for the prompt with the picture, of the same shape.
        scale: How closely to follow the prompt.
        picture_scale: How closely to keep to the picture; 1 with ``scale`` 1 gives ``cond``.
    """
    text = cond - uncond
    text *= np.float32(scale)
    picture = uncond - blind
    picture *= np.float32(picture_scale)
    text += blind
    text += picture
    return text


def rescale_noise_cfg(
    noise_cfg: Array, noise_pred_text: Array, guidance_rescale: float = 0.0
) -> Array:
    """Return guided predictions with their spread drawn back to the unguided ones'.

    Against over-exposure (arXiv 2305.08891, section 3.4).

    Args:
        noise_cfg: Prediction after guidance: (batch, channels, height, width).
        noise_pred_text: Prediction for the prompt, of the same shape.
        guidance_rescale: 0 leaves the prediction as it is, 1 gives it the prompt's deviation.
    """
    ratio = _deviations(noise_pred_text) / _deviations(noise_cfg)
    kept = np.float32(guidance_rescale)
    factors = kept * ratio + (np.float32(1) - kept)
    return noise_cfg * factors.reshape((-1,) + (1,) * (noise_cfg.ndim - 1))


def _deviations(prediction: Array) -> Array:
    flat = prediction.reshape(len(prediction), -1)
    deviations: Array = np.std(flat, axis=1, ddof=1)
    return deviations
