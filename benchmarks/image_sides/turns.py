"""What every side of `whole_images.py` shares: it loads and draws when its standard input says so.

Standard library and numpy only: a side runs in its tool's own environment.

A side is `python SIDE.py JOB.json`. The job is an object: `model` (a folder or file, as the tool
exported it), `latents` (.npy, normal numbers, (1, channels, height, width)), `output` (.npy that
gets the image, (height, width, 3) uint8), `prompt`, `steps`, `guidance`, `pixels` (a side),
`threads`, and `options` of the tool. Each line of input, `load` or `draw`, is answered by one line
of JSON with the seconds that it took, of an image also those of a step, where the tool calls
`step_ended`; before that comes a line of facts.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

_STARTED, _STARTED_CPU = time.perf_counter(), time.process_time()
_ended: list[float] = []

Job = dict[str, Any]


def read_job() -> Job:
    """Return the job; nothing that computes was imported yet, so the threads can be set."""
    job: Job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.environ["OMP_NUM_THREADS"] = str(job["threads"])
    return job


def serve(job: Job, runtime: str, load: Callable[[], object], draw: Callable[[], Any]) -> None:
    """Tell what was imported, then do as the standard input says, until it says `end`.

    `draw` returns the image, (height, width, 3) uint8.
    """
    import numpy as np

    _tell(
        runtime=runtime,
        import_s=time.perf_counter() - _STARTED,
        import_cpu_s=time.process_time() - _STARTED_CPU,
    )
    for line in sys.stdin:
        word = line.strip()
        if word == "end":
            break
        _ended.clear()
        began, cpu_began = time.perf_counter(), time.process_time()
        made = load() if word == "load" else draw()
        spent = time.perf_counter() - began, time.process_time() - cpu_began
        if word != "load":
            np.save(job["output"], made)
        steps = [after - before for before, after in pairwise(_ended)]
        _tell(wall_s=spent[0], cpu_s=spent[1], step_s=statistics.median(steps) if steps else None)


def step_ended(*_: object, **__: object) -> None:
    """Note that a step of the image ended; a tool calls it with what it likes."""
    _ended.append(time.perf_counter())


def by_diffusers(job: Job, pipeline: Any, dtype: str = "float32") -> Any:
    """Draw with a pipeline that is called as diffusers' are; the latents are of a type of torch."""
    import numpy as np
    import torch

    made = pipeline(
        prompt=job["prompt"],
        latents=torch.from_numpy(np.load(job["latents"])).to(getattr(torch, dtype)),
        num_inference_steps=job["steps"],
        guidance_scale=job["guidance"],
        height=job["pixels"],
        width=job["pixels"],
        generator=torch.Generator("cpu").manual_seed(0),
        callback_on_step_end=_step_of_diffusers,
    )
    return np.asarray(made.images[0].convert("RGB"))


def _step_of_diffusers(pipeline: Any, step: int, timestep: Any, tensors: Any) -> Any:
    step_ended()
    return tensors


def _tell(**values: object) -> None:
    print(json.dumps(values), flush=True)
