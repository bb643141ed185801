"""The reference's own process: a job on standard input, JSON lines on standard output.

Runs as `python -m edgegen.reference.child`, so that torch and its memory are gone when it ends.
The lines are `{"event": "total", "steps": n}`, then `{"event": "step", "text": …}` for each step
that is done, and at last `{"event": "done", "peak_weight_bytes": n}` or `{"event": "error",
"kind": …, "message": …, "hint": …}`, where the kind is the name of an error class. It ends when
its input does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgegen.core import errors
from edgegen.core.codec import decode, encode, parse_json_object
from edgegen.core.errors import EdgegenError, MissingDependencyError, ResourceError
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase

Emit = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the parent wants: the probes and the run of `case`, written to `destination`.

    `latent_height` and `latent_width` are those of the probes.
    """

    spec: PipelineSpec
    folder: str
    destination: str
    case: GoldenCase
    latent_height: int
    latent_width: int

    def to_line(self) -> str:
        """Write the job as one line."""
        return json.dumps(encode(self))


def main() -> int:
    """Do the job on standard input; return the exit code."""
    # Only this stream is the protocol: whatever a library prints belongs into the log.
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def emit(event: str, **fields: object) -> None:
        protocol.write(json.dumps({"event": event, **fields}) + "\n")
        protocol.flush()

    try:
        job = decode(
            Job, parse_json_object(sys.stdin.readline(), source="the job"), source="the job"
        )
        threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
        emit("done", peak_weight_bytes=_run(job, emit))
    except EdgegenError as error:
        emit("error", kind=type(error).__name__, message=error.message, hint=error.hint)
        return error.exit_code
    except ImportError as error:
        hint = "Run: pip install 'edgegen[onnx]'"
        message = f"The reference needs torch, diffusers and transformers: {error}."
        emit("error", kind=MissingDependencyError.__name__, message=message, hint=hint)
        return MissingDependencyError.exit_code
    except MemoryError as error:
        message = f"The reference ran out of memory: {error}."
        hint = "Close other programs, or leave --full out."
        emit("error", kind=ResourceError.__name__, message=message, hint=hint)
        return ResourceError.exit_code
    return 0


def error_from(event: dict[str, Any]) -> EdgegenError:
    """Return the error that an `error` event stands for; one of an unknown kind is the base."""
    kind = getattr(errors, str(event.get("kind")), EdgegenError)
    if not (isinstance(kind, type) and issubclass(kind, EdgegenError)):
        kind = EdgegenError
    return kind(str(event.get("message")), hint=str(event.get("hint", "")))


def _run(job: Job, emit: Emit) -> int:
    import torch

    from edgegen.reference import golden, probes
    from edgegen.reference.pipeline import load_reference
    from edgegen.reference.trajectory import run_case, to_numpy

    spec, destination = job.spec, Path(job.destination)
    emit("total", steps=len(spec.components) + job.case.steps + 1)
    reference = load_reference(spec, Path(job.folder))
    latent_size = job.latent_height, job.latent_width
    with torch.inference_mode(), reference.weights:
        for component in spec.components:
            inputs = probes.make_inputs(reference, spec, component, latent_size)
            outputs = probes.compute(reference, component, inputs)
            for name, value in inputs.items():
                file_name = golden.input_name(component.name, name)
                golden.write_array(destination, file_name, to_numpy(value))
            for name, value in outputs.items():
                file_name = golden.output_name(component.name, name)
                golden.write_array(destination, file_name, to_numpy(value))
            emit("step", text=f"probe of {component.name}")
        run_case(
            reference,
            spec,
            job.case,
            destination,
            on_step=lambda index: emit("step", text=f"denoising, step {index}"),
        )
    emit("step", text="image")
    return reference.weights.peak_bytes


def _end_with(stream: IO[str]) -> None:
    stream.read()
    os._exit(errors.INTERRUPTED_EXIT_CODE)


if __name__ == "__main__":
    sys.exit(main())
