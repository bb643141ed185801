"""What `edgegen compare` does with two packages: both are measured, and draw the same."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.cli.console import Console
from edgegen.cli.on_device import attached
from edgegen.cli.on_package import check_package
from edgegen.cli.shared_options import take_reading

if TYPE_CHECKING:
    from edgegen.compare.values import Comparison
    from edgegen.core.evaluation import Evaluation
    from edgegen.core.measurement import Measurement
    from edgegen.devices.device import Device
    from edgegen.measure.plan import BenchSettings
    from edgegen.packaging.packaged_model import Counterpart

DRAWING = ("steps", "guidance", "width", "height")
"""The parameters of how both draw, measured or not."""
_MEMORY_RUNS = 3


@dataclass(frozen=True, slots=True)
class _Compared:
    """A package, and what its pictures are compared with."""

    path: Path
    side: Counterpart

    def given_to(self, settings: BenchSettings) -> BenchSettings:
        """Return the settings with the LoRAs that the package is given."""
        given = self.side.given
        return settings if given is None else replace(settings, loras=given.names, lora=given.file)


def compare_both(
    console: Console, paths: tuple[Path, Path], device: str | None, settings: dict[str, Any]
) -> Comparison:
    """Measure two packages in turns where a device is given, and draw the same with both."""
    from edgegen.compare.packages import check_same_drawing, check_same_model, compare_packages
    from edgegen.core.manifest import load_manifest
    from edgegen.models.adapters.image_prompt import image_prompt_choice
    from edgegen.packaging.packaged_model import counterpart_of, drawn_weights_sha256

    progress = console.progress
    prompt_by = image_prompt_choice(settings["ip_adapter"], settings["image_encoder"])
    added = (settings["loras"], settings["embeddings"], prompt_by)
    model, reading = settings["model"], take_reading(settings)
    manifests = [load_manifest(path) for path in paths]
    with ExitStack() as stack:
        sides = [
            stack.enter_context(counterpart_of(manifest, model, *added, reading))
            for manifest in manifests
        ]
        before, after = (
            drawn_weights_sha256(manifest, side.given, progress)
            for manifest, side in zip(manifests, sides, strict=True)
        )
        quality = not settings["no_quality"]
        check_same_model(*paths, quality=quality, weights=(before, after))
        if device is not None or quality:
            check_same_drawing(*paths, {name: settings[name] for name in DRAWING})
        for path, manifest in zip(paths, manifests, strict=True):
            check_package(console, path, manifest, device or "local", verify=settings["verify"])
        both = (_Compared(paths[0], sides[0]), _Compared(paths[1], sides[1]))
        connected = None
        if device is not None:
            connected = stack.enter_context(attached(device, progress, console.note))
        measured = None if connected is None else _measure(console, both, connected, settings)
        evaluated = _evaluate(console, both, connected, settings) if quality else None
    return compare_packages(*paths, measured=measured, evaluated=evaluated)


def _measure(
    console: Console,
    packages: tuple[_Compared, _Compared],
    device: Device,
    settings: dict[str, Any],
) -> tuple[Measurement, Measurement]:
    from edgegen.cli.plain_progress import PlainProgress
    from edgegen.compare.measurements import check_same_work
    from edgegen.history.keep import keep
    from edgegen.measure.in_turns import measure_in_turns, with_memory_runs
    from edgegen.measure.plan import BenchSettings, plan

    names = (
        *("restarts", "images", "steps", "guidance", "seed"),
        *("width", "height", "threads", "arithmetic", "memory"),
    )
    bench = BenchSettings(**{name: settings[name] for name in names})
    before, after = (
        with_memory_runs(plan(each.path, each.given_to(bench)), _MEMORY_RUNS) for each in packages
    )
    check_same_work(
        before.workload,
        after.workload,
        names=(str(packages[0].path), str(packages[1].path)),
        same_target=before.identity.target == after.identity.target,
        same_weights=before.identity.weights_sha256 == after.identity.weights_sha256,
    )
    measured = measure_in_turns(
        before, after, device, PlainProgress(console.note), patience_s=settings["patience_s"]
    )
    problem = None if settings["no_history"] else keep(*measured)
    if problem is not None:
        console.warn(f"Not in the history: {problem.message} {problem.hint}")
    return measured


def _evaluate(
    console: Console,
    packages: tuple[_Compared, _Compared],
    device: Device | None,
    settings: dict[str, Any],
) -> tuple[Evaluation, Evaluation]:
    from edgegen.evaluate.run import evaluate_package
    from edgegen.evaluate.settings import EvaluateSettings

    names = ("pictures", "steps", "guidance", "width", "height", "arithmetic")
    asked = EvaluateSettings(
        **({"suites": settings["suites"]} if settings["suites"] else {}),
        **{name: settings[name] for name in names},
    )

    def evaluate(each: _Compared) -> Evaluation:
        return evaluate_package(
            each.path,
            model=each.side.model,
            settings=asked,
            device=device,
            progress=console.progress,
            given=each.side.given,
        )

    before, after = packages
    return evaluate(before), evaluate(after)
