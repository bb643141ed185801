"""Resampling by a finite impulse response, as plain layers.

diffusers writes `FirUpsample2D` and `FirDownsample2D` as a view of six axes, padded with zeros
between the pixels and convolved channel by channel (upfirdn of StyleGAN2, arXiv 1912.04958), and
K-diffusion's `KUpsample2D` and `KDownsample2D` as a convolution of all channels with a matrix that
is diagonal, behind mirrored edges. The same numbers come from a convolution of groups, for a larger
picture behind nearest-neighbour upsampling; targets have both.

Imported where torch is, and therefore imports it at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import FunctionType

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.downsampling import FirDownsample2D, KDownsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import FirUpsample2D, KUpsample2D

from edgegen.core.errors import ExportError

_FACTOR = 2
_K_KERNEL = (1, 3, 3, 1)
_RESNET_KERNEL = (1, 3, 3, 1)
"""What `ResnetBlock2D(kernel="fir")` takes. It keeps it in a lambda; other kinds of its resampling
are modules or partials."""


def with_plain_resampling(network: torch.nn.Module) -> torch.nn.Module:
    """Let a network's own resampling compute by plain layers; return the network."""
    for module in network.modules():
        if isinstance(module, FirUpsample2D) and not module.use_conv:
            module.forward = partial(upsample, kernel=module.fir_kernel)
        elif isinstance(module, FirDownsample2D) and not module.use_conv:
            module.forward = partial(downsample, kernel=module.fir_kernel)
        elif isinstance(module, KUpsample2D):
            module.forward = upsample_mirrored
        elif isinstance(module, KDownsample2D):
            module.forward = downsample_mirrored
        elif isinstance(module, ResnetBlock2D):
            if isinstance(module.upsample, FunctionType):
                module.upsample = partial(upsample, kernel=_RESNET_KERNEL)
            if isinstance(module.downsample, FunctionType):
                module.downsample = partial(downsample, kernel=_RESNET_KERNEL)
    return network


def upsample(picture: torch.Tensor, *, kernel: Sequence[float]) -> torch.Tensor:
    """Double height and width, as `upsample_2d`; the picture is (batch, channels, height, width).

    Zeros between the pixels, convolved with ones, are the pixels doubled: what is left of the
    kernel when those ones are divided out of it is convolved afterwards.
    """
    taps = _FACTOR * np.asarray(kernel, dtype=np.float64) / np.sum(kernel)
    rest, remainder = np.polydiv(taps, np.ones(_FACTOR))
    if np.abs(remainder).max() > 1e-12:
        raise ExportError(
            f"The kernel {tuple(kernel)} of an upsampling is not one that edgegen can write.",
            hint="Take a model with diffusers' own kernel, (1, 3, 3, 1).",
        )
    doubled = F.interpolate(picture, scale_factor=float(_FACTOR), mode="nearest")
    return _convolved(doubled, rest, len(kernel) - _FACTOR, stride=1)


def downsample(picture: torch.Tensor, *, kernel: Sequence[float]) -> torch.Tensor:
    """Halve height and width, as `downsample_2d`."""
    taps = np.asarray(kernel, dtype=np.float64) / np.sum(kernel)
    return _convolved(picture, taps, len(kernel) - _FACTOR, stride=_FACTOR)


def upsample_mirrored(inputs: torch.Tensor) -> torch.Tensor:
    """Double height and width, as `KUpsample2D`.

    A pixel beyond the edge is the second one, and each pixel is doubled: what is left of the kernel
    reaches one doubled pixel beyond.
    """
    taps = _FACTOR * np.asarray(_K_KERNEL, dtype=np.float64) / np.sum(_K_KERNEL)
    rest, _ = np.polydiv(taps, np.ones(_FACTOR))
    doubled = F.interpolate(inputs, scale_factor=float(_FACTOR), mode="nearest")
    return _convolved(_edged(doubled, 2), rest, 0, stride=1)


def downsample_mirrored(inputs: torch.Tensor) -> torch.Tensor:
    """Halve height and width, as `KDownsample2D`."""
    taps = np.asarray(_K_KERNEL, dtype=np.float64) / np.sum(_K_KERNEL)
    return _convolved(_edged(inputs, 1), taps, 0, stride=_FACTOR)


def _edged(picture: torch.Tensor, place: int) -> torch.Tensor:
    """Add a row and a column on each side: those that lie `place` behind the edge."""
    cut = torch.ops.aten.slice.Tensor
    for axis in (2, 3):
        first = cut(picture, axis, place, place + 1)
        last = cut(picture, axis, -1 - place, -place)  # from the end, whatever the size
        picture = torch.cat([first, picture, last], dim=axis)
    return picture


def _convolved(
    picture: torch.Tensor, taps: np.ndarray, padding: int, *, stride: int
) -> torch.Tensor:
    """Convolve each channel with the same taps in both directions."""
    channels = picture.shape[1]
    before, behind = (padding + 1) // 2, padding // 2
    square = torch.tensor(np.outer(taps, taps)[::-1, ::-1].tolist(), dtype=picture.dtype)
    weight = square.expand(channels, 1, len(taps), len(taps))
    if before == behind:
        return F.conv2d(picture, weight, stride=stride, padding=before, groups=channels)
    padded = F.pad(picture, (before, behind, before, behind))
    return F.conv2d(padded, weight, stride=stride, groups=channels)
