"""Traces of a model's components for predictions: made in a process, remembered in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgegen import __version__
from edgegen.core.codec import decode, dump_json, encode, load_json
from edgegen.core.errors import ConfigError, ResourceError
from edgegen.core.files import sha256_of, write_atomic
from edgegen.core.folders import cache_folder
from edgegen.core.model import Component
from edgegen.core.progress import Progress
from edgegen.core.trace import ComponentTrace
from edgegen.core.worker import Event, call
from edgegen.models.pipeline_source import SourceSpec, open_source

FORMAT = 1
"""Of what is remembered: another one is made again."""

_TOOLKITS = ("torch", "diffusers", "transformers")
_MODULES = (
    *("exporters/capture.py", "exporters/resampling.py", "exporters/trace_child.py"),
    *("exporters/wrappers.py", "networks/*.py", "reference/modules.py"),
)
"""Other versions of these may give another trace: libraries, and modules of edgegen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceJob:
    """Components to trace, all of whose axes are numbers."""

    source: SourceSpec
    components: tuple[Component, ...]


def trace_components(
    source: SourceSpec, components: Sequence[Component], progress: Progress
) -> Mapping[str, ComponentTrace]:
    """Return the traces of components by name; those that the cache has are not made again.

    Raises ExportError where torch cannot trace a network, and SourceError for its config.
    """
    configs = open_source(source).configs
    places = {it.name: _place(it, configs) for it in components}
    found = {name: trace for name, path in places.items() if (trace := _recall(path)) is not None}
    missing = tuple(it for it in components if it.name not in found)
    if not missing:
        return found
    with progress.step("tracing", total=len(missing)) as step:

        def hear(event: Event) -> None:
            if event["event"] == "traced":
                name = str(event["name"])
                found[name] = decode(ComponentTrace, event["trace"], source="the trace")
                _remember(places[name], found[name])
                step.advance(1)

        call(
            "edgegen.exporters.trace_child",
            TraceJob(source=source, components=missing),
            stage="trace",
            on_event=hear,
        )
    return {it.name: found[it.name] for it in components}


def _place(component: Component, configs: Path) -> Path:
    """Return where a trace is remembered: its name says what it was made from."""
    config = (configs / component.folder / "config.json").read_bytes()
    spec = json.dumps(encode(component), sort_keys=True).encode()
    made_by = json.dumps(_made_by(), sort_keys=True).encode()
    name = hashlib.sha256(b"\n".join((made_by, spec, config))).hexdigest()[:32]
    return cache_folder() / "traces" / f"{name}.json"


@cache
def _made_by() -> Mapping[str, str]:
    """Return the versions of what traces: edgegen, the toolkits, and the modules that do it."""
    found = {"format": str(FORMAT), "edgegen": __version__}
    for toolkit in _TOOLKITS:
        try:
            found[toolkit] = version(toolkit)
        except PackageNotFoundError:
            found[toolkit] = ""
    edgegen = Path(__file__).resolve().parents[1]
    for pattern in _MODULES:
        for module in sorted(edgegen.glob(pattern)):
            found[module.relative_to(edgegen).as_posix()] = sha256_of(module)
    return found


def _recall(path: Path) -> ComponentTrace | None:
    try:
        return load_json(ComponentTrace, path)
    except ConfigError:  # there is none, or another version of edgegen wrote it
        return None


def _remember(path: Path, trace: ComponentTrace) -> None:
    with contextlib.suppress(OSError, ResourceError):  # without a cache, it is made each time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, dump_json(trace), setting="EDGEGEN_CACHE_DIR")
