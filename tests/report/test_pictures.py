"""Images side by side."""

import io

import numpy as np
import pytest
from edgegen_runner.png import encode_png
from PIL import Image

from edgegen.report.font import draw_text, to_ascii
from edgegen.report.pictures import Tile, grid


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (64, 48)])
def test_a_written_image_is_what_pillow_reads(shape: tuple[int, int]) -> None:
    pixels = noise(*shape)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert np.array_equal(np.asarray(image), pixels)


def contains(page: np.ndarray, part: np.ndarray) -> bool:
    height, width = part.shape[:2]
    places = np.argwhere((page[: -height + 1 or None, : -width + 1 or None] == part[0, 0]).all(-1))
    return any(np.array_equal(page[y : y + height, x : x + width], part) for y, x in places)


def test_every_image_is_in_the_grid_untouched() -> None:
    tiles = [Tile(noise(256, 256, seed), f"image {seed}") for seed in range(3)]
    page = grid(tiles, columns=2)
    assert all(contains(page, tile.pixels) for tile in tiles)
    assert page.shape[1] == 2 * 256 + 3 * 12


def test_small_images_are_enlarged_by_a_whole_factor() -> None:
    pixels = noise(32, 32)
    page = grid([Tile(pixels)], least_width=256)
    assert contains(page, pixels.repeat(8, axis=0).repeat(8, axis=1))


def test_a_caption_adds_ink_below_its_image() -> None:
    blank = np.full((256, 256, 3), 255, np.uint8)
    plain, captioned = grid([Tile(blank)]), grid([Tile(blank, "62.3 dB")])
    assert (plain == 255).all()
    assert captioned.shape[0] > plain.shape[0]
    ink = np.argwhere((captioned != 255).any(-1))
    assert ink[:, 0].min() > 256
    assert ink.shape[0] == draw_text("62.3 dB", zoom=2).sum()


def test_a_long_caption_is_wrapped_to_its_image() -> None:
    blank = np.full((64, 256, 3), 255, np.uint8)
    page = grid([Tile(blank, "a caption that is much longer than its picture is wide " * 2)])
    assert page.shape[1] == 256 + 24
    assert (page[:, :12] == 255).all()
    assert (page[:, -12:] == 255).all()


def test_what_the_font_lacks_is_replaced_by_what_is_near() -> None:
    assert to_ascii("Café – 512×512 · 日") == "Cafe - 512x512 - ?"


def test_letters_are_told_apart() -> None:
    drawn = {draw_text(chr(code)).tobytes() for code in range(32, 127)}
    assert len(drawn) == 95


def test_letters_have_the_shape_of_letters() -> None:
    rows = ["".join("#" if dot else "." for dot in row) for row in draw_text("T")]
    assert rows == ["#####."] + 6 * ["..#..."]


@pytest.mark.parametrize(
    "tiles",
    [[], [Tile(np.zeros((4, 4), np.uint8))], [Tile(np.zeros((4, 4, 3), np.float32))]],  # type: ignore[arg-type]
)
def test_what_is_no_rgb_image_is_refused(tiles: list[Tile]) -> None:
    with pytest.raises(ValueError, match=r"image|expected"):
        grid(tiles)
