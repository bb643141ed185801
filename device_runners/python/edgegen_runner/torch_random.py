"""The numbers that torch's CPU generator draws, without torch.

``TorchGenerator(seed).randn(shape)`` gives ``torch.randn(shape,
generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)``, so a seed gives the
latents that diffusers starts from. The draws (Mersenne Twister) are the same bits; the normals made
of them differ by at most 1e-6, as torch's own do between processors with other logarithms.

Sources, in pytorch: aten/src/ATen/core/MT19937RNGEngine.h, aten/src/ATen/CPUGeneratorImpl.cpp,
aten/src/ATen/core/DistributionsHelper.h, aten/src/ATen/native/cpu/DistributionTemplates.h.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOWEST_SEED = -(2**63)
_HIGHEST_SEED = 2**64 - 1
_BLOCK = 16  # torch fills tensors of at least this many elements in blocks of this many


class TorchGenerator:
    """Draw what ``torch.Generator("cpu").manual_seed(seed)`` draws."""

    def __init__(self, seed: int) -> None:
        """Seed the generator; like torch, only the low 32 bits count.

        Raises ValueError for a seed outside -2**63 to 2**64 - 1, which torch refuses too.
        """
        if not _LOWEST_SEED <= seed <= _HIGHEST_SEED:
            raise ValueError(f"The seed {seed} is outside -2**63 to 2**64 - 1.")
        # RandomState seeds with the reference init_genrand(), as torch does; Generator does not.
        self._engine = np.random.RandomState(seed & 0xFFFFFFFF)
        self._spare_normal: float | None = None

    def randn(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return standard normals, float32, of a shape; later calls go on where this one stopped.

        Raises ValueError when an axis is negative.
        """
        if any(axis < 0 for axis in shape):
            raise ValueError(f"The shape {shape} has a negative axis.")
        size = math.prod(shape)
        if size >= _BLOCK:
            values = self._fill(size)
        else:
            values = np.array([self._scalar_normal() for _ in range(size)], dtype=np.float32)
        return values.reshape(shape)

    def _draw(self, count: int) -> NDArray[np.uint32]:
        """Return the next 32-bit outputs of the Mersenne Twister."""
        return self._engine.randint(0, 2**32, size=count, dtype=np.uint32)

    def _uniform(self, count: int) -> NDArray[np.float32]:
        """Return the next uniforms in [0, 1): 24 bits each, exact in float32."""
        return (self._draw(count) & np.uint32(0xFFFFFF)).astype(np.float32) * np.float32(2.0**-24)

    def _fill(self, size: int) -> NDArray[np.float32]:
        """Return normals as torch's ``normal_fill`` makes them.

        All uniforms are drawn first. A size that is no multiple of 16 redraws its last 16, so that
        up to 15 values which a block has already turned into normals are replaced.
        """
        values = self._uniform(size)
        whole = size - size % _BLOCK
        values[:whole] = _box_muller(values[:whole])
        if whole != size:
            values[-_BLOCK:] = _box_muller(self._uniform(_BLOCK))
        return values

    def _scalar_normal(self) -> float:
        """Return one normal as torch's ``normal_distribution<double>`` makes it.

        They are made in pairs: the second one is kept for the next call.
        """
        if self._spare_normal is not None:
            value, self._spare_normal = self._spare_normal, None
            return value
        high_1, low_1, high_2, low_2 = (int(draw) for draw in self._draw(4))
        mask = (1 << 53) - 1
        u1 = ((high_1 << 32 | low_1) & mask) * 2.0**-53
        u2 = ((high_2 << 32 | low_2) & mask) * 2.0**-53
        radius = math.sqrt(-2.0 * math.log1p(-u2))
        theta = 2.0 * math.pi * u1
        self._spare_normal = radius * math.sin(theta)
        return radius * math.cos(theta)


def _box_muller(uniforms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return normals made of uniforms, in blocks of 16: eight radii, then eight angles.

    The angle is rounded to float32 as in torch's AVX2 path; the rest is exact until the end,
    halfway between the approximations that processors use.
    """
    blocks = uniforms.reshape(-1, 2, _BLOCK // 2)
    radius = np.sqrt(-2.0 * np.log(1.0 - blocks[:, 0].astype(np.float64)))
    theta = (np.float32(2.0 * math.pi) * blocks[:, 1]).astype(np.float64)
    normals = np.stack([radius * np.cos(theta), radius * np.sin(theta)], axis=1)
    return normals.astype(np.float32).reshape(-1)
