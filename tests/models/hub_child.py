"""Resolves a model in a process of its own, where huggingface_hub reads its variables afresh.

With arguments it answers once. With none it answers each line of its input, a question with the
variables of its environment, in a fork: what it imports is imported once.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from importlib import import_module
from typing import Any

from edgegen.core.errors import EdgegenError
from edgegen.core.fork import run_forked
from edgegen.core.reading import Reading
from edgegen.models.layouts import NOTE_NAME, layouts_folder
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve, resolve_headers


class Counter:
    """A progress that adds up bytes."""

    def __init__(self) -> None:
        self.steps: list[dict[str, object]] = []

    def step(self, name: str, *, total: float | None = None, unit: str = "items") -> CountedStep:
        return CountedStep(self, name, total, unit)


class CountedStep:
    def __init__(self, counter: Counter, name: str, total: float | None, unit: str) -> None:
        self.total, self.done = total, 0.0
        self.counter, self.name, self.unit = counter, name, unit

    def __enter__(self) -> CountedStep:
        return self

    def __exit__(self, *error: object) -> None:
        self.counter.steps.append({"name": self.name, "total": self.total, "done": self.done})

    def advance(self, amount: float = 1) -> None:
        self.done += amount

    def describe(self, text: str) -> None:
        pass


def answer(options: dict[str, Any]) -> str:
    """Return what became of a model as JSON: what was read of it, or the error."""
    counter = Counter()
    headers = options.pop("headers", False)
    options["reading"] = Reading(config=options.pop("config", None))
    try:
        if headers:
            with resolve_headers(**options, progress=counter) as folder:
                spec, name = read_pipeline(folder), folder.name
        else:
            folder = resolve(**options, progress=counter)
            spec, name = read_pipeline(folder), folder.name
    except EdgegenError as error:
        kind = type(error).__name__
        return json.dumps({"error": kind, "message": error.message, "hint": error.hint})
    found = {
        "path": str(folder.path),
        "source": folder.source,
        "name": name,
        "layouts": len(list(layouts_folder().glob(f"*/{NOTE_NAME}"))),
        "revision": folder.revision,
        "family": spec.family,
        "parameters": sum(component.parameters for component in spec.components),
        "licence": spec.licence,
        "variants": [component.variant for component in spec.components],
        "steps": counter.steps,
        "torch": "torch" in sys.modules,
    }
    return json.dumps(found)


def answer_in(environment: dict[str, str], options: dict[str, Any]) -> str:
    os.environ.clear()
    os.environ.update(environment)
    return answer(options)


def serve() -> None:
    for module in ("hf_api", "file_download"):  # with all that they import
        import_module(f"huggingface_hub.{module}")
    for name in [it for it in sys.modules if it.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]  # a fork imports it again: it reads its variables then
    for line in sys.stdin:
        asked = json.loads(line)
        done = run_forked(partial(answer_in, asked["environment"], asked["options"]))
        sys.stdout.write(f"{done.text}\n")
        sys.stdout.flush()


def main() -> None:
    if len(sys.argv) == 1:
        serve()
    else:
        sys.stdout.write(answer(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
