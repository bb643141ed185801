"""A diffusers folder that a layout takes configurations and weights from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.regular_files import NotRegularError, open_regular
from edgegen.families import slot_folders
from edgegen.models.index import INDEX_NAME
from edgegen.models.layouts import Noted, layout_of
from edgegen.models.licences import licence_files
from edgegen.models.model_folder import model_roots

_SMALL = (".json", ".txt", ".model")
_WEIGHTS = ".safetensors"
_CARD = "README.md"
_MAXIMUM_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFolder:
    """The content of a folder: its index, small files as texts, and where its weights are.

    `noted` are those weights that a layout notes, where the folder is one itself.
    """

    folder: Path
    index: Mapping[str, Any]
    texts: Mapping[str, str]
    weights: Mapping[str, Path]
    noted: Mapping[str, Noted]

    @classmethod
    def open(cls, folder: Path) -> BaseFolder:
        """Read a folder's small files. Raises SourceError where it is no pipeline's."""
        if not (folder / INDEX_NAME).is_file():
            raise SourceError(
                f"{folder} is not the folder of a diffusers pipeline: it has no {INDEX_NAME}.",
                hint="Give the folder that save_pretrained wrote.",
            )
        index = ComponentConfig.read(folder / INDEX_NAME).data
        texts: dict[str, str] = {}
        weights: dict[str, Path] = {}
        roots = model_roots(folder)
        for path in licence_files(folder):
            if path.suffix != ".pdf":
                texts[path.name] = _text(path, roots)
        if (folder / _CARD).is_file():
            texts[_CARD] = _text(folder / _CARD, roots)
        named = [name for name, entry in index.items() if isinstance(entry, list)]
        for name in dict.fromkeys((*named, *slot_folders(it.name for it in folder.iterdir()))):
            if (folder / name).is_dir() and Path(name).name == name:
                small, large = component_files(folder / name, name, roots=roots)
                texts.update(small)
                weights.update(large)
        layout = layout_of(folder)
        noted = {} if layout is None else layout.components
        return cls(folder=folder, index=index, texts=texts, weights=weights, noted=noted)


def component_files(
    folder: Path, name: str, *, roots: tuple[Path, ...] = ()
) -> tuple[dict[str, str], dict[str, Path]]:
    """Return a component's small files, as texts, and its weights: by their paths below `name`.

    Raises SourceError for a file that is large, not a text, or a link out of the `roots`.
    """
    texts, weights = {}, {}
    for path in sorted(folder.iterdir()):
        if path.suffix == _WEIGHTS:
            weights[f"{name}/{path.name}"] = path
        elif path.suffix in _SMALL and not path.is_dir():
            texts[f"{name}/{path.name}"] = _text(path, roots or (folder,))
    return texts, weights


def _text(path: Path, roots: tuple[Path, ...]) -> str:
    try:
        with open_regular(path, roots=roots) as file:
            data = file.read(_MAXIMUM_BYTES + 1)
    except NotRegularError as error:
        raise SourceError(
            f"{path} is not taken: {error}.", hint="Put the file itself there."
        ) from error
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}.", hint="Check the file."
        ) from error
    if len(data) > _MAXIMUM_BYTES:
        raise SourceError(
            f"{path} is larger than {_MAXIMUM_BYTES >> 20} MiB.",
            hint="Check that it is what its name says.",
        )
    return data.decode("utf-8", errors="surrogateescape")
