"""The reference executor as a runtime of the runner, which the host injects into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from edgegen_runner.arithmetic import ARITHMETICS, arithmetic_of
from edgegen_runner.backends import BackendOptions, coreml_tensors
from edgegen_runner.errors import RunnerFailure, nearest
from edgegen_runner.package import Component
from numpy.typing import NDArray

from edgegen.core.errors import EdgegenError, IntegrityError
from edgegen.mil.executor.program import MilProgram
from edgegen.mil.runtime import REFERENCE, ROUNDED


class ReferenceBackend:
    """Run Core ML programs where there is no Core ML: right, slow, and never timed.

    The provider `reference` rounds each result to the type that the program declares for it,
    `reference-float32` computes in float32 throughout.
    """

    name = REFERENCE.name
    available_providers = REFERENCE.providers

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.version = str(torch.__version__)
        if options.threads is not None:
            torch.set_num_threads(options.threads)

    @property
    def arithmetic_gaps(self) -> Mapping[str, str]:
        """Return in which types it doesn't compute; see the runner's `Backend`."""
        return dict.fromkeys(ARITHMETICS[1:], "a program says the type of each operation")

    def load(self, path: Path, component: Component) -> ReferenceSession:
        """Load a program, or the chunks of one that is cut; see the runner's `Backend.load`."""
        arithmetic_of(self.options.arithmetic, component, self.arithmetic_gaps, self.name)
        chosen = self.options.providers or (ROUNDED,)
        if len(chosen) > 1 or chosen[0] not in self.available_providers:
            raise RunnerFailure(
                "missing-provider",
                f"The reference executor has no provider {' + '.join(chosen)}.",
                nearest(chosen[0], self.available_providers),
            )
        rounds = chosen[0] == ROUNDED
        try:
            programs = [MilProgram(file, rounds=rounds) for file in (path, *component.parts)]
        except EdgegenError as error:
            raise _failure(error) from error
        return ReferenceSession(component, programs, chosen)


class ReferenceSession:
    """A component whose program, or chunks of one, are loaded."""

    def __init__(
        self, component: Component, programs: Sequence[MilProgram], providers: tuple[str, ...]
    ) -> None:
        self.providers = providers
        self.arithmetic = component.compute
        self._component = component
        self._programs = list(programs)

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Compute outputs; see the runner's `Session.run`."""
        try:
            return coreml_tensors.run_programs(self._component, self._programs, inputs, outputs)
        except EdgegenError as error:
            raise _failure(error) from error

    def close(self) -> None:
        """Give the memory back."""
        self._programs = []


def _failure(error: EdgegenError) -> RunnerFailure:
    """Return an error of the host as the runner tells it."""
    kind = "bad-package" if isinstance(error, IntegrityError) else "runtime"
    return RunnerFailure(kind, error.message, error.hint)
