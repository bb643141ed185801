"""Where `edgegen run` puts its images, and what they are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgegen.cli.console import Console
from edgegen.core.errors import ConfigError

PNG = ".png"
_OTHER_KINDS = re.compile(
    r"\.(avif|bmp|exr|gif|hei[cf]|ico|jfif|jp2|jpe|jpe?g|jxl|pdf|ppm|svg|tga|tiff?|webp)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """A folder, and the names of the images in it."""

    folder: Path
    names: tuple[str, ...]

    def check(self, console: Console, *pictures: Path | None) -> None:
        """Tell which files are about to be replaced.

        Raises ConfigError where one is a picture that is drawn from, or no image can be put there.
        """
        taken = [path for name in self.names if (path := self.folder / name).exists()]
        for path in taken:
            if any(picture is not None and path.samefile(picture) for picture in pictures):
                raise ConfigError(
                    f"The image would replace {path}, which it is drawn from.",
                    hint="Name another file: -o FILE.png",
                )
            if not path.is_file():
                raise ConfigError(f"{path} is not a file.", hint="Name another file: -o FILE.png")
        if taken:
            others = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
            console.note(f"{taken[0]}{others} was there before, and is replaced.")


def image_files(output: Path | None, prompt: str | None, seed: int, count: int) -> ImageFiles:
    """Return where the images go.

    A file that the user named is replaced; a name of ours that is taken gets a number. Raises
    ConfigError where `output` is neither a PNG file nor a folder.
    """
    if output is None or output.is_dir():
        return _in_folder(output or Path(), prompt, seed, count)
    kind = output.suffix.lower()
    if kind == PNG:
        names = [f"{output.stem}-{seed + index}{PNG}" for index in range(count)]
        return ImageFiles(folder=output.parent, names=tuple(names) if count > 1 else (output.name,))
    if str(output) == "-":
        raise ConfigError(
            "Images are written to files, not to standard output.", hint="Name one: -o FILE.png"
        )
    if _OTHER_KINDS.fullmatch(kind):
        raise ConfigError(
            f"Images are PNG files, and {output} would be something else.",
            hint=f"-o {output.with_suffix(PNG)}, or the name of a folder.",
        )
    if output.exists():
        raise ConfigError(
            f"{output} is there, and is neither a PNG file nor a folder.",
            hint="Name another: -o FILE.png, or a folder.",
        )
    return _in_folder(output, prompt, seed, count)


def _in_folder(folder: Path, prompt: str | None, seed: int, count: int) -> ImageFiles:
    slug = _slug(prompt or "image")
    names = tuple(_free_name(folder, f"{slug}-{seed + index}") for index in range(count))
    return ImageFiles(folder=folder, names=names)


def _slug(prompt: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in prompt.lower()).split()
    slug = "-".join(words).encode(errors="ignore")[:60].decode(errors="ignore").rstrip("-")
    return slug or "image"


def _free_name(folder: Path, stem: str) -> str:
    number, name = 1, f"{stem}{PNG}"
    while (folder / name).exists():
        number += 1
        name = f"{stem}-{number}{PNG}"
    return name
