"""The highest memory of one component by itself, in a process that imports only the runner.

    python benchmarks/component_memory.py '{"package": DIR, "component": NAME, "backend": NAME,
                                            "shapes": {INPUT: [AXIS, …], …}}'

It loads the component and runs it once, on normal numbers and on zeros for what counts, and prints
the runner's own figures of memory as JSON. `edgegen` isn't imported: the process is the runner's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from edgegen_runner.backends import BackendOptions, open_backend
from edgegen_runner.memory import MemorySampler
from edgegen_runner.package import load_package
from edgegen_runner.residency import Components


def main(job: dict[str, Any]) -> None:
    """Load and run a component, and print its memory."""
    package = load_package(Path(job["package"]))
    component = package.component(job["component"])
    numbers = np.random.default_rng(0)
    sampler = MemorySampler()
    sampler.start()
    backend = open_backend(BackendOptions(name=job["backend"]))
    components = Components(package, backend, "all", lambda *_, **__: sampler.sample())
    inputs = {}
    for name, tensor in component.inputs.items():
        shape = job["shapes"][name]
        counts = "int" in tensor.dtype
        inputs[name] = np.zeros(shape) if counts else numbers.standard_normal(shape, np.float32)
    components.load([component.name])
    components.run(component.name, inputs)
    sampler.sample()
    print(json.dumps(sampler.stop()))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
