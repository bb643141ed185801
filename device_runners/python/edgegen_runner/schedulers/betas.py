"""The variance schedule of a diffusion model: betas, and the products that schedulers read."""

from __future__ import annotations

import math
from typing import Callable

import numpy as np

from . import float32 as f32
from .base import Array
from .options import BetaOptions

_MAX_BETA = 0.999
_LEAST_ALPHA_CUMPROD = 2.0**-24  # diffusers keeps sigma finite, at 4096, where the SNR is zero


def alphas_cumprod(options: BetaOptions, *, finite_sigma: bool = False) -> Array:
    """Return the cumulative product of 1 - beta for each training timestep: (train timesteps,).

    Args:
        options: Names the schedule; ``rescale_betas_zero_snr`` is heeded where the class has it.
        finite_sigma: Keep the last product above zero, for schedulers that divide by it.
    """
    betas = _betas(options)
    zero_snr = getattr(options, "rescale_betas_zero_snr", False)
    if zero_snr:
        betas = _rescaled_to_zero_terminal_snr(betas)
    products = _cumulative_product(1.0 - betas)
    if zero_snr and finite_sigma:
        products[-1] = _LEAST_ALPHA_CUMPROD
    return products


def training_sigmas(products: Array) -> Array:
    """Return sqrt((1 - a) / a), the noise level of each training timestep: (train timesteps,)."""
    sigmas: Array = np.sqrt((1.0 - products) / products)
    return sigmas


def noised(product: np.float32, original: Array, noise: Array) -> Array:
    """Return sqrt(a) * original + sqrt(1 - a) * noise, the forward process (arXiv 2006.11239)."""
    return f32.weighted_sum((f32.sqrt(product), original), (f32.sqrt(f32.ONE - product), noise))


def _betas(options: BetaOptions) -> Array:
    count, start, end = options.num_train_timesteps, options.beta_start, options.beta_end
    if options.trained_betas is not None:
        return np.asarray(options.trained_betas, dtype=np.float32)
    if options.beta_schedule == "linear":
        return f32.linspace(start, end, count)
    if options.beta_schedule == "scaled_linear":  # latent diffusion
        return np.square(f32.linspace(start**0.5, end**0.5, count))
    if options.beta_schedule == "sigmoid":  # GeoDiff
        sigmoid = 1.0 / (1.0 + np.exp(-f32.linspace(-6.0, 6.0, count).astype(np.float64)))
        return sigmoid.astype(np.float32) * (end - start) + start
    if options.beta_schedule == "laplace":
        return _betas_for_alpha_bar(_laplace_alpha_bar, count)
    if options.beta_schedule == "exp":
        return _betas_for_alpha_bar(_exponential_alpha_bar, count)
    return _betas_for_alpha_bar(_cosine_alpha_bar, count)


def _cosine_alpha_bar(t: float) -> float:
    return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2


def _exponential_alpha_bar(t: float) -> float:
    return math.exp(t * -12.0)


def _laplace_alpha_bar(t: float) -> float:
    log_snr = -0.5 * math.copysign(1, 0.5 - t) * math.log(1 - 2 * math.fabs(0.5 - t) + 1e-6)
    snr = math.exp(log_snr)
    return math.sqrt(snr / (1 + snr))


def _betas_for_alpha_bar(alpha_bar: Callable[[float], float], count: int) -> Array:
    """Discretize a product of alphas that is given over t in [0, 1] (arXiv 2102.09672)."""
    betas = [
        min(1 - alpha_bar((index + 1) / count) / alpha_bar(index / count), _MAX_BETA)
        for index in range(count)
    ]
    return np.array(betas, dtype=np.float32)


def _rescaled_to_zero_terminal_snr(betas: Array) -> Array:
    """Shift and scale the betas so that the last timestep is pure noise (arXiv 2305.08891, 1)."""
    roots = np.sqrt(_cumulative_product(1.0 - betas))
    first, last = roots[0], roots[-1]
    roots = (roots - last) * (first / (first - last))
    bars = np.square(roots)
    alphas = np.concatenate([bars[:1], bars[1:] / bars[:-1]])
    rescaled: Array = np.float32(1) - alphas
    return rescaled


def _cumulative_product(alphas: Array) -> Array:
    # torch multiplies in float64 and rounds each product.
    return np.cumprod(alphas, dtype=np.float64).astype(np.float32)
