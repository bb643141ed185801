"""Copies what is small and not converted from a model into its package.

Only regular files of the model itself are copied: a link in its folder may lead to a private file,
which the package would carry to others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.regular_files import NotRegularError, copy_regular
from edgegen.families import scheduler_entries
from edgegen.models.licences import licence_files
from edgegen.models.model_folder import model_roots
from edgegen.tokenizers import FILES, FOLDERS, tokenizers_in

COPIED = ("model_index.json", *scheduler_entries(), *FOLDERS, "feature_extractor")
CONFIG_NAME = "config.json"
CARD_NAME = "MODEL_CARD.md"
MAXIMUM_BYTES = 16 << 20
"""The largest, a tokenizer with its merges, has 4 MB."""


def copy_small_files(model: Path, package: Path) -> None:
    """Copy scheduler, tokenizers, index, licence files and the model's card.

    Raises SourceError for a file that is not regular, or is a link that leads out of the model.
    """
    for source, name in _small_files(model):
        destination = package / name
        destination.parent.mkdir(exist_ok=True)
        _copy(model, source, destination)
    for folder, tokenizer in tokenizers_in(package):
        tokenizer.complete(folder)


def small_files_bytes(model: Path) -> int:
    """Return how large the copied files are, and those that a tokenizer is completed with."""
    copied = sum(source.stat().st_size for source, _ in _small_files(model))
    return copied + sum(it.missing_bytes(folder) for folder, it in tokenizers_in(model))


def _small_files(model: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file that is copied, and where it goes in the package."""
    for name in COPIED:
        source = model / name
        if source.is_dir():
            for file in sorted(source.iterdir()):
                if not file.is_dir() and (file.suffix in (".json", ".txt") or file.name in FILES):
                    yield file, f"{name}/{file.name}"
        elif source.exists():
            yield source, name
    for file in licence_files(model):
        yield file, file.name
    card = model / "README.md"
    if card.is_file():  # some models name their licence and their authors nowhere else
        yield card, CARD_NAME


def write_config(source: Path, folder: Path, class_name: str) -> None:
    """Write the config of a component in `source` into its folder of the package.

    Of a whole CLIPModel only the text encoder's part is written, as other runtimes look for it.
    """
    config = ComponentConfig.of_network(source / CONFIG_NAME)
    if not isinstance(ComponentConfig.read(source / CONFIG_NAME).data.get("text_config"), dict):
        _copy(source.parent, source / CONFIG_NAME, folder / CONFIG_NAME)
        return
    written = {**config.data, "architectures": [class_name]}
    (folder / CONFIG_NAME).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def _copy(model: Path, source: Path, destination: Path) -> None:
    try:
        if source.stat().st_size > MAXIMUM_BYTES:
            raise SourceError(
                f"{source} is larger than {MAXIMUM_BYTES >> 20} MiB, and would be copied.",
                hint="Remove it, or check that it is what its name says.",
            )
        copy_regular(source, destination, roots=model_roots(model))
    except NotRegularError as error:
        raise SourceError(
            f"{source} is not copied into a package: {error}.",
            hint="Put the file itself there.",
        ) from error
    except FileNotFoundError as error:
        raise SourceError(
            f"{source} is a link to a file that is missing.", hint="Put the file itself there."
        ) from error
