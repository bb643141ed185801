from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.png import encode_png
from PIL import Image

from edgegen.core.errors import RunnerError
from edgegen.runner.png import read_pixels

RANDOM = np.random.default_rng(1)
SLOPES = np.add.outer(np.arange(40), np.arange(0, 90, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [
        RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8),
        RANDOM.integers(0, 256, (1, 1, 1), dtype=np.uint8),
        np.stack([SLOPES, SLOPES[::-1], 255 - SLOPES], axis=-1),
        np.zeros((3, 2, 3), np.uint8),
    ],
)
def test_what_the_runner_writes_is_read(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(encode_png(pixels, {"prompt": "ä lighthouse"}))
    assert np.array_equal(read_pixels(path), pixels)
    pillow = np.asarray(Image.open(path))
    assert np.array_equal(pillow.reshape(pixels.shape), pixels)


def test_anything_else_is_refused(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    data = encode_png(pixels)
    transparent = tmp_path / "transparent.png"
    Image.fromarray(pixels).convert("RGBA").save(transparent)
    contents = [b"", b"no png", data[:40], data[:-30], transparent.read_bytes()]
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.png"
        path.write_bytes(content)
        with pytest.raises(RunnerError, match=path.name):
            read_pixels(path)
    with pytest.raises(RunnerError, match="missing"):
        read_pixels(tmp_path / "missing.png")
