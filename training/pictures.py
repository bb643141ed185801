"""Makes `edgegen/scenes/pictures.png` from a package of the npm registry.

    python training/pictures.py [--archive FILE]

The archive is downloaded unless given, and is taken only where its SHA-256 is the one below.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tarfile
import urllib.request
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgegen.core.files import write_atomic
from edgegen.scenes.objects import objects
from edgegen.scenes.render import SHEET, SHEET_COLUMNS
from edgegen.scenes.scene import PICTURE_PX

ARCHIVE = "https://registry.npmjs.org/emoji-datasource-google/-/emoji-datasource-google-16.0.0.tgz"
SHA256 = "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"
_FOLDER = "package/img/google/64"


def main() -> int:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", type=Path, help=f"a copy of {ARCHIVE}")
    archive: Path | None = parser.parse_args().archive
    data = archive.read_bytes() if archive else _download()
    if (found := hashlib.sha256(data).hexdigest()) != SHA256:
        print(f"The archive's SHA-256 is {found}, not {SHA256}.", file=sys.stderr)
        return 1
    sheet = _sheet(data)
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    write_atomic(SHEET, file.getvalue())
    print(f"{SHEET}: {len(objects())} pictures, {file.tell() / 1e6:.1f} MB")
    return 0


def _download() -> bytes:
    print(f"Downloading {ARCHIVE}")
    with urllib.request.urlopen(ARCHIVE, timeout=60) as response:
        return bytes(response.read())


def _sheet(data: bytes) -> Image.Image:
    rows = -(-len(objects()) // SHEET_COLUMNS)
    sheet = Image.new("RGBA", (SHEET_COLUMNS * PICTURE_PX, rows * PICTURE_PX))
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for thing in objects():
            member = archive.extractfile(f"{_FOLDER}/{thing.picture}.png")
            assert member is not None, thing.picture
            picture = Image.open(member).convert("RGBA")
            assert picture.size == (PICTURE_PX, PICTURE_PX), thing.picture
            row, column = divmod(thing.index, SHEET_COLUMNS)
            sheet.paste(picture, (column * PICTURE_PX, row * PICTURE_PX))
    return sheet


if __name__ == "__main__":
    sys.exit(main())
