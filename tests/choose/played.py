"""A choice whose toolkits and device are played: real files, keys, locks and results, no torch.

`python -m tests.choose.played OUTPUT LOG SECONDS` runs it as a process that can be killed. What is
done is written to LOG as it begins and when it is kept: `begin KEY`, `end KEY`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgegen.choose import work
from edgegen.choose.cache import Cache
from edgegen.choose.engine import open_engine
from edgegen.choose.jobs import DeviceRef
from edgegen.choose.prepare import Asked, Place, prepare
from edgegen.choose.run import Run, Setting
from edgegen.choose.space import Wanted
from edgegen.core.choice import Choice
from edgegen.core.codec import decode, dump_json, encode
from edgegen.core.errors import EdgegenError, ExportError
from edgegen.core.evaluation import SCHEMA_VERSION, Evaluation
from edgegen.core.figures import Figure, Limit, exact
from edgegen.core.files import sha256_of
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import Measurement
from edgegen.core.package import Evidence, PackageManifest
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import SilentProgress
from edgegen.core.staging import staged_folder
from edgegen.measure.plan import BenchPlan
from edgegen.models.source import resolve
from edgegen.packaging.batch import Batch, Built
from edgegen.packaging.plan import BuildPlan
from tests.statistics.samples import measurement
from tests.tiny_packages import manifest

MODEL = "builtin:scenes-4step-tiny"
RIGHT = {"fp32": 0.95, "fp16-storage": 0.94, "fp16": 0.5, "int8": 0.92}
"""How many of a played package's pictures are right, by its recipe."""

LIMITS = (Limit(figure="right", value=0.9), Limit(figure="latency", value=1.0))


class Played:
    """Stands in for the toolkits, the judge of pictures and the device.

    `log` is where everything is written that is done; each thing takes `seconds`. `failing` are
    recipes that cannot be built. `device_fails` is asked before each measurement.
    """

    def __init__(
        self,
        log: Path,
        *,
        seconds: float = 0.0,
        failing: Sequence[str] = (),
        device_fails: Callable[[], EdgegenError | None] = lambda: None,
    ) -> None:
        self.log = log
        self.seconds = seconds
        self.failing = failing
        self.device_fails = device_fails

    def build_all(self, plans: Sequence[BuildPlan], **more: Any) -> Batch:
        """Write a package for each plan."""
        return Batch(packages=tuple(self._build(plan) for plan in plans))

    def _build(self, plan: BuildPlan) -> Built | EdgegenError:
        recipe = plan.candidate.recipe.name
        self._write(f"begin package {plan.destination.name}")
        if recipe in self.failing:
            return ExportError(f"{recipe} cannot be converted", hint="Choose another recipe.")
        with staged_folder(plan.destination, replace=True) as staging:
            self._wait()
            self.write_package(plan, staging)
        self._write(f"end package {plan.destination.name}")
        made = load_manifest(plan.destination)
        return Built(path=plan.destination, manifest=made, evidence=Evidence(manifest_sha256=""))

    def write_package(self, plan: BuildPlan, staging: Path) -> None:
        """Write a package's files: a few bytes, as many more as its recipe would take more."""
        data = hashlib.sha256(plan.candidate.recipe.name.encode()).digest()
        (staging / "weights.bin").write_bytes(data * (plan.prediction.package_bytes // 3200))
        write_manifest(staging, self._manifest(plan, staging))

    def _manifest(self, plan: BuildPlan, staging: Path) -> PackageManifest:
        file = staging / "weights.bin"
        made = decode(
            PackageManifest,
            manifest(
                family="stable-diffusion",
                pipeline_class="StableDiffusionPipeline",
                generation=encode(plan.candidate.spec.generation),
                components=(),
                files=[
                    {
                        "path": file.name,
                        "sha256": sha256_of(file),
                        "size_bytes": file.stat().st_size,
                    }
                ],
            ),
            source="a played package",
        )
        candidate = plan.candidate
        return replace(
            made,
            target=candidate.target.name,
            recipe=candidate.recipe,
            scheduler=candidate.spec.scheduler,
            source=replace(made.source, model=MODEL),
        )

    def measure(self, plan: BenchPlan, *more: Any, **settings: Any) -> Measurement:
        """Return a measurement of a package, or fail as a device does."""
        self._write(f"begin measurement {plan.identity.manifest_sha256} {plan.quick}")
        self._wait()
        error = self.device_fails()
        if error is not None:
            raise error
        found = measurement(steps=plan.workload.steps)
        self._write(f"end measurement {plan.identity.manifest_sha256} {plan.quick}")
        return replace(found, package=plan.identity, workload=plan.workload, quick=plan.quick)

    def attach(self, address: str, root: str | None) -> Any:
        """Return the context of the device, which nothing here needs."""
        return contextlib.nullcontext()

    def judge(self, package: Path, *, settings: Any, **more: Any) -> Evaluation:
        """Return an evaluation of a package: what its recipe is worth."""
        made = load_manifest(package)
        self._write(f"begin evaluation {made.recipe.name} {made.generation.steps}")
        self._wait()
        self._write(f"end evaluation {made.recipe.name} {made.generation.steps}")
        found = _evaluation(made.target, made.recipe.name, made.generation.steps)
        return replace(found, arithmetic=settings.arithmetic)

    def judge_model(self, model: Any, *, settings: Any, **more: Any) -> Evaluation:
        """Return an evaluation of a model itself."""
        self._write(f"begin probe {settings.steps}")
        self._wait()
        self._write(f"end probe {settings.steps}")
        return _evaluation("torch", "", settings.steps)

    def _wait(self) -> None:
        time.sleep(self.seconds)

    def _write(self, line: str) -> None:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[None]:
        """Take the place of what really builds, judges and measures."""
        run = SimpleNamespace(evaluate_package=self.judge, evaluate_model=self.judge_model)
        summary = SimpleNamespace(quality_figures=_figures)
        modules: dict[str, Any] = {
            "edgegen.evaluate.run": run,
            "edgegen.evaluate.summary": summary,
        }
        old = {name: sys.modules.get(name) for name in modules}
        own = {name: getattr(work, name) for name in ("build_all", "measure", "attach")}
        sys.modules.update(modules)
        work.build_all, work.measure = self.build_all, self.measure  # type: ignore[assignment]
        work.attach = self.attach  # type: ignore[assignment]
        try:
            yield
        finally:
            for name, module in old.items():
                sys.modules.pop(name)
                if module is not None:
                    sys.modules[name] = module
            for name, value in own.items():
                setattr(work, name, value)


def write_manifest(staging: Path, made: PackageManifest) -> None:
    """Write a package's manifest, and evidence that says nothing."""
    (staging / "edgegen.json").write_text(dump_json(made), encoding="utf-8")
    evidence = Evidence(manifest_sha256=sha256_of(staging / "edgegen.json"))
    (staging / "evidence.json").write_text(dump_json(evidence), encoding="utf-8")


def _evaluation(target: str, recipe: str, steps: int) -> Evaluation:
    return Evaluation(
        schema_version=SCHEMA_VERSION,
        manifest_sha256="",
        model=MODEL,
        weights_sha256="",
        target=target,
        recipe=recipe,
        runtime="played",
        steps=steps,
        guidance=1.0,
        width=64,
        height=64,
        reference="played",
        reference_steps=4,
        suites=(),
        pictures=(),
    )


def _figures(evaluation: Evaluation) -> dict[str, Figure]:
    right = RIGHT.get(evaluation.recipe, 0.95)
    if evaluation.steps < 4:
        right /= 2
    return {"right": exact(right), "psnr": exact(30.0), "ssim": exact(0.9)}


class Silent:
    """A watcher that nobody looks at."""

    def started(self, *what: Any) -> None:
        """Do nothing."""

    def ended(self, *what: Any) -> None:
        """Do nothing."""


SIX = (
    *("onnx:fp32", "onnx:fp16-storage", "onnx:fp16"),
    *("openvino:fp32", "openvino:fp16-storage", "openvino:int8"),
)
"""What is chosen among, whatever recipes the targets have besides."""


def new_run(
    output: Path,
    *,
    limits: Sequence[Limit] = LIMITS,
    fresh: bool = False,
    exhaustive: bool = False,
    recipes: tuple[str, ...] = (),
    profile: DeviceProfile | None = None,
) -> Run:
    """Return a choice among six packages of two targets, or `recipes`, in 2 and in 4 steps."""
    place = Place(
        device=DeviceRef(address="local", root=None, identity={"host_name": "played"}),
        title="a played device",
        profile=profile,
        targets=("onnx", "openvino"),
        lacking={},
        has_energy=False,
    )
    asked = Asked(
        models=(resolve(MODEL),),
        wanted=Wanted(steps=(2, 4), recipes=recipes, targets=() if recipes else SIX),
        limits=tuple(limits),
        exhaustive=exhaustive,
    )
    return run_of(asked, place, Cache(fresh=fresh), output)


def run_of(asked: Asked, place: Place, cache: Cache, output: Path, *, device: str = "local") -> Run:
    """Return a choice of what is asked, for a device, with nobody who looks on."""
    prepared = prepare(asked, place, cache, SilentProgress())
    setting = Setting(
        command="edgegen choose",
        device=device,
        device_title=place.title,
        profile=None,
        limits=prepared.limits,
        output=output,
    )
    return Run(
        setting=setting,
        search=prepared.search,
        jobs=prepared.jobs,
        cache=cache,
        watcher=Silent(),
    )


def go(run: Run) -> Choice:
    """Run a choice to its end with the engine of this machine."""
    with open_engine("local", run.cache, SilentProgress()) as engine:
        run.go(engine)
    run.put_winners()
    return run.write()


if __name__ == "__main__":
    played = Played(Path(sys.argv[2]), seconds=float(sys.argv[3]))
    with played.standing_in():
        go(new_run(Path(sys.argv[1])))
