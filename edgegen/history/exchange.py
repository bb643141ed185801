"""Files that carry a history elsewhere, and the results of others back: nothing is uploaded.

An export is JSON Lines, one value a line:
`{"schema_version": 1, "kind": "measurement", "content_sha256": …, "value": {…}}`. An import takes
such a file, a measurement of `edgegen bench --json-file`, or an evaluation.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgegen.core.codec import MAXIMUM_JSON_BYTES, decode, parse_json_object
from edgegen.core.errors import ConfigError
from edgegen.core.evaluation import Evaluation
from edgegen.core.files import write_atomic
from edgegen.core.measurement import Measurement
from edgegen.core.regular_files import open_regular
from edgegen.history.record import Query
from edgegen.history.rows import content_of
from edgegen.history.store import History, is_of_the_package

SCHEMA_VERSION = 1

Kind = Literal["measurement", "evaluation"]

KINDS: Mapping[Kind, type[Measurement] | type[Evaluation]] = {
    "measurement": Measurement,
    "evaluation": Evaluation,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of an export; `value` is that of the kind, as JSON."""

    schema_version: int
    kind: Kind
    content_sha256: str
    value: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version is {self.schema_version}; this edgegen reads {SCHEMA_VERSION}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did: how many values were new, and how many were there already.

    `left_out` were drawn with LoRAs that a package was given, of which the history holds none.
    """

    file: str
    added: int
    known: int
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an export wrote."""

    file: str
    measurements: int
    evaluations: int


def export(history: History, query: Query, path: Path) -> Written:
    """Write the measurements and evaluations that a query wants, raw.

    Raises ResourceError where the file cannot be written.
    """
    measurements, evaluations = history.find(query), history.find_evaluations(query)
    lines = [_line("measurement", history.measurement(each)) for each in measurements]
    lines += [_line("evaluation", history.evaluation(each)) for each in evaluations]
    write_atomic(path, "".join(lines), setting="another FILE")
    return Written(file=str(path), measurements=len(measurements), evaluations=len(evaluations))


def import_file(history: History, path: Path) -> Imported:
    """Add all that a file holds, or nothing; what was drawn with given LoRAs is left out.

    Raises ConfigError that names the line where the file holds something else.
    """
    values = list(read(path))
    measurements = [value for value in values if isinstance(value, Measurement)]
    evaluations = [value for value in values if isinstance(value, Evaluation)]
    name = path.name.encode(errors="replace").decode()
    added = history.add_all(measurements, evaluations, source=name)
    kept = sum(map(is_of_the_package, values))
    return Imported(file=str(path), added=added, known=kept - added, left_out=len(values) - kept)


def read(path: Path) -> Iterator[Measurement | Evaluation]:
    """Yield the values of an export, or the one of a result; each is checked.

    Raises ConfigError.
    """
    lines = list(_lines(path))
    if lines and lines[0].strip() == b"{":  # one object, indented
        lines = list(_bounded(io.BytesIO(b"".join(lines)).read, path))
    if not any(map(bytes.strip, lines)):
        raise ConfigError(f"{path} is empty.", hint="Give a file that has a result.")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            source = str(path) if len(lines) == 1 else f"{path}, line {number}"
            yield _value(_object(line, source), source)


def _line(kind: Kind, value: Measurement | Evaluation) -> str:
    content = content_of(value)
    head = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "content_sha256": hashlib.sha256(content.encode()).hexdigest(),
    }
    return f'{json.dumps(head)[:-1]}, "value": {content}}}\n'


def _lines(path: Path) -> Sequence[bytes]:
    try:
        with open_regular(path) as raw, open(raw.fileno(), "rb", closefd=False) as file:
            return list(_bounded(file.readline, path))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist.", hint="Check the path.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="Check the file.") from error


def _bounded(read_some: Callable[[int], bytes], path: Path) -> Iterator[bytes]:
    while line := read_some(MAXIMUM_JSON_BYTES + 1):
        if len(line) > MAXIMUM_JSON_BYTES:
            raise ConfigError(
                f"{path} has a value of over {MAXIMUM_JSON_BYTES >> 20} MiB.",
                hint="This is not what edgegen writes: ask for the file again.",
            )
        yield line


def _object(line: bytes, source: str) -> dict[str, Any]:
    try:
        return parse_json_object(line.decode("utf-8"), source=source)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{source} is not text in UTF-8.", hint="Ask for the file again."
        ) from error


def _value(data: dict[str, Any], source: str) -> Measurement | Evaluation:
    if "kind" not in data:
        kind: Kind = "evaluation" if "pictures" in data else "measurement"
        return decode(KINDS[kind], data, source=source)
    line = decode(Line, data, source=source)
    value = decode(KINDS[line.kind], line.value, source=source)
    if hashlib.sha256(content_of(value).encode()).hexdigest() != line.content_sha256:
        raise ConfigError(
            f"{source}: what it holds is not what was exported.", hint="Ask for the file again."
        )
    return value
