"""What OLD and NEW are: packages, measurements or evaluations, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import decode, load_json_object
from edgegen.core.errors import ConfigError
from edgegen.core.evaluation import Evaluation
from edgegen.core.measurement import Measurement
from edgegen.core.package import MANIFEST_NAME

EVALUATION_NAME = "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package's folder."""

    path: Path


Source = Package | Measurement | Evaluation


def read_pair(old: Path, new: Path) -> tuple[Source, Source]:
    """Return what both are; raises ConfigError where they are not of one kind."""
    sources = read(old), read(new)
    kinds = [_KINDS[type(source)] for source in sources]
    if kinds[0] != kinds[1]:
        raise ConfigError(
            f"{old} is {kinds[0]}, {new} is {kinds[1]}.",
            hint="Compare two of one kind: packages, files of `edgegen bench --json-file`, or "
            f"{EVALUATION_NAME} files.",
        )
    return sources


def read(path: Path) -> Source:
    """Return the package in a folder, or the result in a file or a folder; raises ConfigError."""
    if path.is_dir():
        if (path / MANIFEST_NAME).is_file():
            return Package(path=path)
        if not (path / EVALUATION_NAME).is_file():
            raise ConfigError(
                f"{path} is no package, and holds no {EVALUATION_NAME}.",
                hint="Give the folder that has the manifest in it, or the file of a result.",
            )
        path /= EVALUATION_NAME
    data = load_json_object(path)
    if "pictures" in data:
        return decode(Evaluation, data, source=str(path))
    return decode(Measurement, data, source=str(path))


_KINDS = {
    Package: "a package",
    Measurement: "a measurement",
    Evaluation: "an evaluation",
}
