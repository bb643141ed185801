"""Loads and runs graphs in a process of its own, for `test_graphs.py`: a runtime may take it down.

Takes the path of a package a line, and answers each with a line of JSON: how it ended (`fine`,
`orderly`, or the name of an exception that nobody expects) and the peak of resident memory.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
from edgegen_runner.backends import Backend, BackendOptions, open_backend
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.memory_guard import limit_memory
from edgegen_runner.package import Package, load_package
from edgegen_runner.residency import Components

SIZES = {"batch": 1, "sequence": 77}


def probe(package: Package, backend: Backend) -> None:
    """Run the package's one component on ones."""
    size = package.generation.width, package.generation.height
    limit_memory(package, BackendOptions(), *size)
    components = Components(package, backend, "all", lambda event, **fields: None)
    try:
        for component in package.components.values():
            inputs = {
                tensor.name: np.ones(
                    [SIZES.get(a, 8) if isinstance(a, str) else a for a in tensor.shape],
                    tensor.dtype,
                )
                for tensor in component.inputs.values()
            }
            components.run(component.name, inputs, list(component.outputs))
    finally:
        components.close()


def peak_bytes() -> int:
    """Return the peak of this process's resident memory since it was last set back."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what native code prints there is no answer
    backend = open_backend(BackendOptions(name=sys.argv[1], threads=1))
    for line in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        message = ""
        try:
            probe(load_package(Path(line.strip())), backend)
            ended = "fine"
        except RunnerFailure as failure:
            ended, message = "orderly", failure.message
        except MemoryError:  # the runner's process says so, as memory that ran out
            ended = "orderly"
        except Exception as error:  # what the fuzzer looks for
            ended, message = type(error).__name__, str(error)
        answer = {"ended": ended, "message": message[:500], "peak_bytes": peak_bytes()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
