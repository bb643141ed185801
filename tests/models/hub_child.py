"""Resolves a model in a process of its own, where huggingface_hub reads its variables afresh."""

from __future__ import annotations

import json
import sys

from edgegen.core.errors import EdgegenError
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


def main() -> None:
    options = json.loads(sys.argv[1])
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
        sys.stdout.write(json.dumps({"error": kind, "message": error.message, "hint": error.hint}))
        return
    answer = {
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
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
