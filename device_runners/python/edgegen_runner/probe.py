"""Runs one component on files, for comparisons with another runtime."""

from __future__ import annotations

import numpy as np

from .arrays import load_array
from .backends import Backend
from .errors import RunnerFailure
from .events import Emit
from .job import ProbeJob
from .memory_guard import limit_memory
from .package import load_package
from .residency import Components


def probe(job: ProbeJob, backend: Backend, emit: Emit) -> None:
    """Read ``<input>.npy`` files, run the component, write ``<output>.npy`` files.

    Raises RunnerFailure.
    """
    package = load_package(job.package, chip=job.backend.chip)
    component = package.component(job.component)
    inputs = {name: load_array(job.inputs / f"{name}.npy") for name in component.inputs}
    limit_memory(package, job.backend, package.generation.width, package.generation.height)
    lora = None
    if job.lora is not None:
        from .lora import load_lora

        lora = load_lora(job.lora, package)
    components = Components(package, backend, "sequential", emit, lora)
    try:
        outputs = components.run(job.component, inputs)
    finally:
        components.close()
    try:
        job.outputs.mkdir(parents=True, exist_ok=True)
        for name, value in outputs.items():
            path = job.outputs / f"{name}.npy"
            np.save(path, value, allow_pickle=False)
            emit("probe", component=job.component, output=name, path=str(path))
    except OSError as error:
        raise RunnerFailure(
            "disk", f"{job.outputs} cannot be written: {error}.", "Free some space there."
        ) from error
