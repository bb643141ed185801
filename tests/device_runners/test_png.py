"""The runner's PNG files, with Pillow as the judge."""

import io
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils import load_image
from edgegen_runner.images import read_picture, to_gray, to_rgb
from edgegen_runner.png import encode_png, to_uint8, write_png
from edgegen_runner.png_reader import read_png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

SIZES = ((1, 1), (1, 9), (9, 1), (2, 2), (3, 5), (17, 8), (64, 64), (33, 70))
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
COLOUR_TYPES = {1: 0, 3: 2, 4: 6}


def noise(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (height, width, channels)).astype(np.uint8)


def gradient(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 3, y * 5, (x + y) * 2], axis=-1).astype(np.uint8)


def decode_with_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def header(width: int, height: int, *more: int) -> bytes:
    depth, colour_type, compression, filtering, interlace = more or (8, 2, 0, 0, 0)
    fields = (width, height, depth, colour_type, compression, filtering, interlace)
    return chunk(b"IHDR", struct.pack(">IIBBBBB", *fields))


def png_file(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def pixels(data: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(data))


END = chunk(b"IEND", b"")
ONE_RED_PIXEL = b"\x00\xff\x00\x00"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_pillow_reads_what_is_encoded(size: tuple[int, int], channels: int) -> None:
    image = noise(*size, channels)
    np.testing.assert_array_equal(decode_with_pillow(encode_png(image)), image)


def test_array_that_is_not_contiguous_is_encoded() -> None:
    image = gradient(20, 30)[::-2, ::3]
    np.testing.assert_array_equal(decode_with_pillow(encode_png(image)), image)


def test_smooth_image_is_written_small() -> None:
    image = gradient(128, 128)
    assert len(encode_png(image)) < image.nbytes / 20


def test_same_image_and_text_give_the_same_bytes() -> None:
    text = {"prompt": "a cat", "seed": "1"}
    assert encode_png(gradient(20, 20), text) == encode_png(gradient(20, 20), text)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("a photo of a cat", b"tEXt"),
        ("", b"tEXt"),
        ("two\nlines, café", b"tEXt"),
        ("日本の猫 😀", b"iTXt"),
        ("a\tb", b"iTXt"),
        ("soft\xadhyphen\xa0", b"iTXt"),
    ],
)
def test_text_is_read_back_by_pillow(value: str, kind: bytes) -> None:
    data = encode_png(noise(4, 4, 3), {"prompt": value, "seed": "42"})
    assert (b"tEXtprompt" in data, b"iTXtprompt" in data) == (kind == b"tEXt", kind == b"iTXt")
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.text == {"prompt": value, "seed": "42"}


@pytest.mark.parametrize(
    "keyword", ["", " a", "a ", "a  b", "a\nb", "x" * 80, "日本", "a\0b", "a\xa0b"]
)
def test_keyword_that_png_cannot_hold_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match="no PNG keyword"):
        encode_png(noise(2, 2, 3), {keyword: "value"})


def test_text_with_a_zero_character_is_refused() -> None:
    with pytest.raises(ValueError, match="zero character"):
        encode_png(noise(2, 2, 3), {"prompt": "a\0b"})


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=lambda image: f"{image.dtype} {image.shape}",
)
def test_image_of_another_kind_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"uint8 pixels|no image of"):
        encode_png(image)


def test_written_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"old")
    write_png(path, gradient(8, 8), {"seed": "3"})
    np.testing.assert_array_equal(read_png(path), gradient(8, 8))
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(OSError, match=r"image\.png"):
        write_png(path, gradient(8, 8))
    assert list(tmp_path.iterdir()) == [path]


def test_refused_image_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="uint8 pixels"):
        write_png(path, np.zeros((4, 4), np.uint8))
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_pillow_writes_is_read(tmp_path: Path, size: tuple[int, int], channels: int) -> None:
    image = noise(*size, channels) // 16
    path = tmp_path / "image.png"
    Image.fromarray(image.squeeze(2) if channels == 1 else image).save(path)
    np.testing.assert_array_equal(read_png(path), image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("filters", [[0], [1], [2], [3], [4], [0, 1, 2, 3, 4]], ids=str)
def test_every_filter_is_undone_as_pillow_undoes_it(
    tmp_path: Path, size: tuple[int, int], channels: int, filters: list[int]
) -> None:
    height, width = size
    source = random.Random(f"{size} {channels} {filters}")
    # Any bytes are the filtered rows of some image.
    rows = b"".join(
        bytes([source.choice(filters)]) + source.randbytes(width * channels) for _ in range(height)
    )
    first = header(width, height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    data = png_file(first, pixels(rows), END)
    (tmp_path / "image.png").write_bytes(data)
    np.testing.assert_array_equal(read_png(tmp_path / "image.png"), decode_with_pillow(data))


KINDS = [
    (depth, colour_type)
    for colour_type, depths in {
        0: (1, 2, 4, 8, 16),
        2: (8, 16),
        3: (1, 2, 4, 8),
        4: (8, 16),
        6: (8, 16),
    }.items()
    for depth in depths
]
TRANSPARENT = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}
PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def random_png(
    size: tuple[int, int], depth: int, colour_type: int, *more: bytes, interlaced: bool = False
) -> bytes:
    """Return a picture with any bytes: they are the filtered rows of some picture."""
    height, width = size
    source = random.Random(f"{size} {depth} {colour_type} {interlaced}")
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    rows = b""
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns = len(range(left, width, across))
        for _ in range(top, height, down) if columns else ():
            rows += bytes([source.randrange(5)]) + source.randbytes((columns * bits + 7) // 8)
    palette = (
        [chunk(b"PLTE", source.randbytes(3 * min(200, 1 << depth)))] if colour_type == 3 else []
    )
    first = header(width, height, depth, colour_type, 0, 0, int(interlaced))
    return png_file(first, *palette, *more, pixels(rows), END)


def as_diffusers_loads(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of palettes with transparency
        return np.asarray(load_image(str(path)))


@pytest.mark.parametrize("size", [(3, 2), (17, 33)])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize(("depth", "colour_type"), KINDS)
def test_every_kind_of_png_is_what_diffusers_loads(
    depth: int,
    colour_type: int,
    transparent: bool,
    interlaced: bool,
    size: tuple[int, int],
    tmp_path: Path,
) -> None:
    more = [chunk(b"tRNS", TRANSPARENT[colour_type])] if transparent and colour_type < 4 else []
    path = tmp_path / "image.png"
    path.write_bytes(random_png(size, depth, colour_type, *more, interlaced=interlaced))
    expected = as_diffusers_loads(path)
    np.testing.assert_array_equal(to_rgb(read_picture(path)), expected)
    gray = np.asarray(Image.fromarray(expected).convert("L"))
    np.testing.assert_array_equal(to_gray(read_picture(path))[:, :, 0], gray)


def exif(orientation: int, order: str = "<") -> bytes:
    """Return EXIF data whose first directory has a width and an orientation."""
    mark = b"II" if order == "<" else b"MM"
    entries = struct.pack(order + "HHIHH", 256, 3, 1, 5, 0)
    entries += struct.pack(order + "HHIHH", 274, 3, 1, orientation, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 2) + entries + bytes(4)


def raw_profile(data: bytes) -> bytes:
    return b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(data), data.hex().encode())


XMP = b'<rdf:Description tiff:Orientation="%d"/>'
ORIENTED = {
    "eXIf": lambda n: chunk(b"eXIf", exif(n)),
    "big-endian eXIf": lambda n: chunk(b"eXIf", exif(n, ">")),
    "raw profile": lambda n: chunk(b"tEXt", raw_profile(exif(n))),
    "compressed raw profile": lambda n: chunk(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(exif(n))[22:])
    ),
    "XMP": lambda n: chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % n),
}


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("kind", ORIENTED)
def test_a_picture_is_turned_as_its_exif_says(kind: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(random_png((4, 7), 8, 2, ORIENTED[kind](orientation)))
    np.testing.assert_array_equal(to_rgb(read_picture(path)), as_diffusers_loads(path))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II",
        b"II*\0",
        exif(6)[:-10],
        exif(6)[:20],
        b"II*\0\xff\xff\xff\xff",
        b"XX" + exif(6)[2:],
    ],
)
def test_broken_exif_leaves_a_picture_as_it_is(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(random_png((4, 7), 8, 2, chunk(b"eXIf", data)))
    assert read_png(path).shape == (4, 7, 3)


def test_pixels_in_many_chunks_and_unknown_ancillary_chunks_are_read(tmp_path: Path) -> None:
    stream = zlib.compress(ONE_RED_PIXEL)
    parts = [chunk(b"IDAT", stream[i : i + 1]) for i in range(len(stream))]
    data = png_file(header(1, 1), chunk(b"teST", b"?"), *parts, chunk(b"tIME", b"\0" * 7), END)
    (tmp_path / "image.png").write_bytes(data)
    assert read_png(tmp_path / "image.png").tolist() == [[[255, 0, 0]]]


BROKEN = {
    "empty": (b"", "signature"),
    "not a PNG": (b"GIF89a", "signature"),
    "no chunk": (png_file(), "cut off"),
    "no header": (png_file(pixels(ONE_RED_PIXEL), END), "header"),
    "short header": (png_file(chunk(b"IHDR", b"\0" * 12), END), "header"),
    "two headers": (png_file(header(1, 1), header(1, 1), pixels(ONE_RED_PIXEL), END), "unexpected"),
    "no pixels": (png_file(header(1, 1), END), "too few"),
    "too few": (png_file(header(1, 1), pixels(ONE_RED_PIXEL[:-1]), END), "too few"),
    "too many": (png_file(header(1, 1), pixels(ONE_RED_PIXEL * 2), END), "too many"),
    "no zlib": (png_file(header(1, 1), chunk(b"IDAT", b"junk"), END), "decompressed"),
    "cut zlib": (
        png_file(header(1, 1), chunk(b"IDAT", zlib.compress(ONE_RED_PIXEL)[:-2]), END),
        "few",
    ),
    "filter 5": (png_file(header(1, 1), pixels(b"\x05\xff\0\0"), END), "filter type 5"),
    "no width": (png_file(header(0, 1), pixels(ONE_RED_PIXEL), END), "0 x 1"),
    "huge": (
        png_file(header(2**31 - 1, 2**31 - 1), pixels(ONE_RED_PIXEL), END),
        "more than 67,108,864",
    ),
    "12,000 by 12,000": (png_file(header(12_000, 12_000), pixels(b""), END), "make it smaller"),
    "4 bits of colour": (png_file(header(1, 1, 4, 2, 0, 0, 0), pixels(b"\0\0\0"), END), "depth 4"),
    "colour type 5": (png_file(header(1, 1, 8, 5, 0, 0, 0), pixels(b"\0\0"), END), "type 5"),
    "no palette": (png_file(header(1, 1, 8, 3, 0, 0, 0), pixels(b"\0\0"), END), "no palette"),
    "interlace 2": (png_file(header(1, 1, 8, 2, 0, 0, 2), pixels(ONE_RED_PIXEL), END), "lace 2"),
    "a bomb": (png_file(header(1, 1), pixels(bytes(1 << 26)), END), "too many"),
    "unknown critical chunk": (
        png_file(header(1, 1), chunk(b"TEST", b""), pixels(ONE_RED_PIXEL), END),
        "unexpected b'TEST' chunk",
    ),
    "no end": (png_file(header(1, 1), pixels(ONE_RED_PIXEL)), "cut off"),
}


@pytest.mark.parametrize(("data", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"image\.png cannot be read as PNG: .*({message})"):
        read_png(path)


def test_file_cut_anywhere_or_with_any_byte_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    data = encode_png(noise(3, 4, 3), {"seed": "1"})
    damaged = [data[:length] for length in range(len(data))]
    for i in range(len(data)):
        damaged += [data[:i] + bytes([data[i] ^ bit]) + data[i + 1 :] for bit in (1, 0x20, 0xFF)]
    for broken in damaged:
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="cannot be read as PNG"):
            read_png(path)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=60), st.booleans())
def test_junk_is_refused_or_read_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, has_header: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.png"
    path.write_bytes(png_file(*([header(2, 2)] if has_header else [])) + junk)
    with pytest.raises(ValueError, match="cannot be read as PNG"):
        read_png(path)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 5, 7), (1, 1, 4, 4)])
def test_pixels_are_those_of_diffusers(shape: tuple[int, ...]) -> None:
    images = np.random.RandomState(0).uniform(-1.3, 1.3, shape).astype(np.float32)
    expected = VaeImageProcessor().postprocess(torch.from_numpy(images), output_type="pil")
    converted = to_uint8(images)
    assert converted.shape == (shape[0], shape[2], shape[3], shape[1])
    for ours, theirs in zip(converted, expected, strict=True):
        np.testing.assert_array_equal(ours.squeeze(), np.asarray(theirs))


def test_rounding_at_every_half_step_is_that_of_diffusers() -> None:
    halves = (np.arange(-4, 516, dtype=np.float32) / np.float32(510)) * 2 - 1
    values = np.concatenate([halves, np.nextafter(halves, 2), np.nextafter(halves, -2)])
    values = np.append(values, np.float32([np.inf, -np.inf, 0.0])).astype(np.float32)
    images = np.repeat(values.reshape(1, 1, 1, -1), 3, axis=1)
    (expected,) = VaeImageProcessor().postprocess(torch.from_numpy(images), output_type="pil")
    np.testing.assert_array_equal(to_uint8(images)[0], np.asarray(expected))


def test_half_precision_images_are_converted() -> None:
    images = np.linspace(-1, 1, 48).reshape(1, 3, 4, 4)
    expected = to_uint8(images.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(to_uint8(images.astype(np.float16)), expected)


def test_image_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(np.full((1, 3, 2, 2), np.nan, np.float32))


def test_image_without_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="batch, channels"):
        to_uint8(np.zeros((3, 2, 2), np.float32))
