"""Loads packages with optimum's pipelines and draws; run by the peers' python.

    python optimum_side.py ATTEMPTS.json RESULTS.json

ATTEMPTS is an object: `module` (optimum.onnxruntime or optimum.intel), `options` of loading,
`versions` (the distributions to name), and `attempts`, a list of objects:
`package`, `loader` (a class of the module), `scheduler`
(null for the package's own, else [diffusers class, options]), `seed`, `arguments` of the call,
`pictures` (argument -> PNG) and `output`, where the image goes as (height, width, 3) uint8 .npy.
RESULTS are the versions, and for each attempt the pipeline's class once it has loaded, and the
error that ended it, else null.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

Attempt = dict[str, Any]


def main(attempts_path: Path, results_path: Path) -> None:
    asked = json.loads(attempts_path.read_text(encoding="utf-8"))
    optimum = importlib.import_module(asked["module"])
    results: list[dict[str, str | None]] = []
    # Sessions hold memory: each package is loaded once for a loader, and freed before the next.
    for (package, loader), group in itertools.groupby(
        asked["attempts"], lambda attempt: (attempt["package"], attempt["loader"])
    ):
        load = partial(getattr(optimum, loader).from_pretrained, package, **asked["options"])
        results += draw_all(load, list(group))
    versions = {name: importlib.metadata.version(name) for name in asked["versions"]}
    found = {"versions": versions, "results": results}
    results_path.write_text(json.dumps(found), encoding="utf-8")


def draw_all(load: Callable[[], Any], attempts: list[Attempt]) -> list[dict[str, str | None]]:
    try:
        pipeline = load()
    except Exception as error:  # whatever a peer raises is what is measured
        return [{"pipeline": None, "error": describe(error)} for _ in attempts]
    pipeline.set_progress_bar_config(disable=True)
    own_scheduler = pipeline.scheduler
    results: list[dict[str, str | None]] = []
    for attempt in attempts:
        name = type(pipeline).__name__
        try:
            pipeline.scheduler = scheduler(own_scheduler, attempt["scheduler"])
            np.save(attempt["output"], draw(pipeline, attempt))
        except Exception as error:
            results.append({"pipeline": name, "error": describe(error)})
        else:
            results.append({"pipeline": name, "error": None})
    return results


def scheduler(own: Any, wanted: tuple[str, dict[str, Any]] | None) -> Any:
    if wanted is None:
        return type(own).from_config(own.config)
    class_name, options = wanted
    return getattr(diffusers, class_name).from_config(own.config, **options)


def draw(pipeline: Any, attempt: Attempt) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pictures = {name: Image.open(path) for name, path in attempt["pictures"].items()}
    generator = torch.Generator("cpu").manual_seed(attempt["seed"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = pipeline(**attempt["arguments"], **pictures, generator=generator)
    return np.asarray(made.images[0].convert("RGB"))


def describe(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
