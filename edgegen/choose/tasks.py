"""What an engine does: values that say all of a piece of work, wherever it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgegen.choose.problem import Effort
from edgegen.core.figures import UNKNOWN, Figure
from edgegen.core.profile import DeviceProfile
from edgegen.core.reading import Reading
from edgegen.core.recipe import Arithmetic, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model, as the user called it, and what of it is taken.

    `folder` is where its files lie on this machine, if they aren't found there by its name.
    """

    source: str
    revision: str | None = None
    variant: str | None = None
    reading: Reading | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTask:
    """A package to build. Without `width` and `height` it draws at the model's own size.

    With a `cache_interval` above 1 it keeps features between steps.
    """

    key: str
    model: ModelRef
    target: str
    recipe: Recipe
    profile: DeviceProfile | None
    width: int | None
    height: int | None
    cache_interval: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTask:
    """A model to judge in torch, at other steps than its own; `against` as in EvaluateTask."""

    key: str
    model: ModelRef
    steps: int
    width: int
    height: int
    guidance_stop: float
    cache_interval: int
    pictures: int | None
    against: ModelRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateTask:
    """A package whose pictures are to be judged, drawn at steps and a size.

    They are held against those of `against`, the original of a pruned model; None: of its own.
    `arithmetic` is the type in which the device computes them, None for the recipe's own.
    """

    key: str
    package: str
    model: ModelRef
    steps: int
    width: int
    height: int
    pictures: int | None
    against: ModelRef | None = None
    arithmetic: Arithmetic | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureTask:
    """A package to measure on a device, drawn at steps and a size.

    With `sustained_s` it is measured for that long besides, for its slowdown.
    """

    key: str
    package: str
    device: str
    root: str | None
    profile: DeviceProfile | None
    steps: int
    width: int
    height: int
    effort: Effort
    sustained_s: float | None
    patience_s: float | None


Task = BuildTask | ProbeTask | EvaluateTask | MeasureTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a task.

    `failed` is why there are no figures, `kind` the class of the error and `hint` its own.
    `from_cache` is whether it was there already; `place` is the package, the evaluation's folder or
    the measurement's file, relative to the cache. `doubt` says why the figures may be others on the
    device.
    """

    key: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    step_s: Figure = UNKNOWN
    failed: str = ""
    kind: str = ""
    hint: str = ""
    from_cache: bool = False
    wall_s: float = 0.0
    place: str = ""
    doubt: str = ""
