"""What `edgegen run` finds out before it draws: the arithmetic, the plan for a limit of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.cli.on_device import LOCAL

if TYPE_CHECKING:
    from edgegen.cli.console import Console
    from edgegen.core.package import PackageManifest
    from edgegen.core.recipe import Arithmetic
    from edgegen.devices.device import Device
    from edgegen.runner.job import Backend, GenerateJob
    from edgegen.runner.session import ImageResult

Choose = Callable[[str, "Backend", "Device | None"], "Arithmetic"]
"""Returns the fastest arithmetic for a package's folder, on a device or here."""


def chooser(
    console: Console, manifest: PackageManifest, job: GenerateJob, patience_s: float
) -> Choose:
    from edgegen.packaging.integrity import manifest_sha256
    from edgegen.runner.arithmetic import fastest_arithmetic

    digest = manifest_sha256(Path(job.package))

    def choose(package: str, backend: Backend, device: Device | None) -> Arithmetic:
        choice = fastest_arithmetic(
            package,
            manifest,
            digest,
            backend,
            device=device,
            residency=job.residency,
            patience_s=patience_s,
            progress=console.progress,
        )
        console.note(f"Arithmetic: {choice.reason}")
        return choice.arithmetic

    return choose


class Within:
    """Draws within a limit of memory, by the fastest plan that keeps within it."""

    def __init__(
        self, console: Console, manifest: PackageManifest, job: GenerateJob, limit_bytes: int
    ) -> None:
        from edgegen.packaging.integrity import manifest_sha256

        self._console, self._manifest, self._limit_bytes = console, manifest, limit_bytes
        self._digest = manifest_sha256(Path(job.package))

    def planned(
        self,
        job: GenerateJob,
        draw: Callable[[GenerateJob], Sequence[ImageResult]],
        where: str = LOCAL,
    ) -> GenerateJob:
        """Return the job as the plan does it; `draw` tries plans."""
        from edgegen.core.units import format_bytes
        from edgegen.runner.memory_plan import Peak, fitting_plan, planned

        def peak_of(trial: GenerateJob) -> Peak:
            image = draw(trial)[0]
            return Peak(pss_bytes=image.peak_memory_bytes, phase=image.peak_phase)

        with self._console.progress.step("memory") as step:

            def say(text: str) -> None:
                step.describe(text)
                self._console.note(f"Memory: {text}")

            fitting = fitting_plan(
                job,
                self._manifest,
                self._limit_bytes,
                peak_of,
                place=f"{where} {self._digest}",
                say=say,
            )
        self._console.note(
            f"Memory: {fitting.plan.words}, {format_bytes(fitting.peak_bytes)} of "
            f"{format_bytes(self._limit_bytes)} expected."
        )
        return replace(
            planned(job, fitting.plan), measure_memory=True, max_memory_bytes=self._limit_bytes
        )

    def tell(self, images: Sequence[ImageResult]) -> None:
        """Say what the images took."""
        from edgegen.core.units import format_bytes

        peak = images[0].peak_memory_bytes
        self._console.note(
            f"Memory: {format_bytes(peak)} at most, of {format_bytes(self._limit_bytes)}."
        )
