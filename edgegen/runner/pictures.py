"""Pictures and masks as people have them, made into what the runner reads.

The runner reads every kind of PNG by itself. Pictures of other kinds are converted here, before
they travel, as diffusers' `load_image` reads them: turned as their EXIF orientation says, and in
RGB. Pillow reads them, where it is installed.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgegen.core.errors import ConfigError, MissingDependencyError
from edgegen.core.regular_files import open_regular
from edgegen.core.scratch import ScratchFolder

MOST_PIXELS = 1 << 26
"""As the runner's `png_reader`: a picture of 8192 × 8192 pixels."""

_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PPM", "TGA", "TIFF", "WEBP")
"""What Pillow is let near: no format for which it starts a program, as it does for EPS."""

_FAILURES = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
)
"""What Pillow's readers raise for broken files: each has its own habits."""


@contextmanager
def readable_pictures(*pictures: Path | None) -> Iterator[tuple[Path | None, ...]]:
    """Yield each picture, or the PNG that is made of it; what was made is removed afterwards.

    Raises ConfigError where a file is not a picture or too large, MissingDependencyError where it
    is not a PNG and Pillow is not installed, ResourceError where there is no room for the PNG.
    """
    with ScratchFolder("pictures") as folder:
        yield tuple(
            picture if picture is None or _is_png(picture) else _convert(picture, folder, number)
            for number, picture in enumerate(pictures)
        )


def _is_png(picture: Path) -> bool:
    try:
        with open_regular(picture) as file:
            return file.read(len(_PNG)) == _PNG
    except OSError as error:
        raise ConfigError(
            f"The picture {picture} cannot be read: {error}.", hint="Check the path and the file."
        ) from error


def _convert(picture: Path, folder: Path, number: int) -> Path:
    """Write a picture to `folder` as an RGB PNG, upright, and return that."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError(
            f"{picture} is not a PNG file, and Pillow, which reads others, is not installed.",
            hint="pip install pillow, or convert the picture to PNG.",
        ) from error
    Image.init()
    kinds = [kind for kind in _KINDS if kind in Image.OPEN]
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(picture, formats=kinds) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ConfigError(
                    f"{picture} has {opened.width} × {opened.height} pixels, more than "
                    f"{MOST_PIXELS:,}.",
                    hint="Make it smaller first.",
                )
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except UnidentifiedImageError as error:
        raise ConfigError(
            f"{picture} is not a picture that Pillow reads here.",
            hint="Convert it to PNG or JPEG.",
        ) from error
    except (*_FAILURES, Image.DecompressionBombError) as error:
        raise ConfigError(
            f"The picture {picture} cannot be read: {error}.",
            hint="Open it in an image editor, and save it as PNG.",
        ) from error
    path = folder / f"{number}.png"
    image.save(path, "PNG", compress_level=1)
    return path
