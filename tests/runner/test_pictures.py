"""Pictures that are no PNG: what the runner gets is what diffusers loads."""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers.utils import load_image
from edgegen_runner.images import read_picture
from PIL import Image

from edgegen.core.errors import ConfigError, MissingDependencyError
from edgegen.runner.pictures import readable_pictures


def noise(mode: str) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (13, 22, 3), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 3)
    return Image.fromarray(pixels).convert(mode)


def oriented(image: Image.Image, orientation: int) -> dict[str, Any]:
    exif = image.getexif()
    exif[274] = orientation
    return {"exif": exif}


KINDS: dict[str, Callable[[Path], None]] = {
    "photo.jpg": lambda path: noise("RGB").save(path),
    "gray.jpg": lambda path: noise("L").save(path),
    "cmyk.jpg": lambda path: noise("CMYK").save(path),
    "progressive.jpg": lambda path: noise("RGB").save(path, progressive=True),
    "turned.jpg": lambda path: noise("RGB").save(path, **oriented(noise("RGB"), 6)),
    "mirrored.webp": lambda path: noise("RGB").save(path, **oriented(noise("RGB"), 5)),
    "lossless.webp": lambda path: noise("RGBA").save(path, lossless=True),
    "animated.gif": lambda path: noise("P").save(path, save_all=True, append_images=[noise("L")]),
    "bits.bmp": lambda path: noise("1").save(path),
    "deep.tiff": lambda path: noise("I;16").save(path),
    "cmyk.tiff": lambda path: noise("CMYK").save(path),
    "lab.tiff": lambda path: noise("RGB").convert("LAB").save(path),
    "plain.ppm": lambda path: noise("RGB").save(path),
    "photo.jp2": lambda path: noise("RGB").save(path),
    "really-a-jpeg.png": lambda path: noise("RGB").save(path, "JPEG"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_of_another_kind_becomes_what_diffusers_loads(name: str, tmp_path: Path) -> None:
    KINDS[name](tmp_path / name)
    with Image.open(tmp_path / name) as opened:
        expected = np.asarray(load_image(opened))
    with readable_pictures(tmp_path / name, None) as (picture, mask):
        assert mask is None
        assert picture is not None
        np.testing.assert_array_equal(read_picture(picture), expected)
    assert not picture.exists()


def test_a_png_travels_as_it_is(tmp_path: Path) -> None:
    noise("P").save(tmp_path / "photo.jpg", "PNG")
    with readable_pictures(None, tmp_path / "photo.jpg") as (picture, mask):
        assert picture is None
        assert mask == tmp_path / "photo.jpg"


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.eps"
    for data in (b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>"):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match="not a picture"), readable_pictures(path):
            pass
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="cannot be read"), readable_pictures(other):
            pass


def test_a_picture_of_too_many_pixels_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.ppm"
    path.write_bytes(b"P6 12000 12000 255 ")
    with pytest.raises(ConfigError, match="12000 × 12000 pixels"), readable_pictures(path):
        pass
    path.write_bytes(b"P6 1000000 1000000 255 ")
    with pytest.raises(ConfigError, match="decompression bomb"), readable_pictures(path):
        pass


@pytest.mark.parametrize("name", [name for name in KINDS if name != "plain.ppm"])
def test_a_broken_picture_is_refused_or_read(name: str, tmp_path: Path) -> None:
    KINDS[name](tmp_path / name)
    data = (tmp_path / name).read_bytes()
    source = random.Random(name)
    for _ in range(10):
        broken = bytearray(data)
        for _ in range(source.randint(1, 6)):
            broken[source.randrange(len(broken))] = source.randrange(256)
        del broken[source.choice([len(broken), source.randrange(len(broken))]) :]
        (tmp_path / name).write_bytes(broken)
        with contextlib.suppress(ConfigError), readable_pictures(tmp_path / name) as (picture,):
            assert picture is not None
            assert read_picture(picture).ndim == 3


def test_without_pillow_the_way_on_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    noise("RGB").save(file, "JPEG")
    (tmp_path / "photo.jpg").write_bytes(file.getvalue())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with (
        pytest.raises(MissingDependencyError, match="Pillow") as caught,
        readable_pictures(tmp_path / "photo.jpg"),
    ):
        pass
    assert "pip install pillow" in caught.value.hint
