"""The result of a choice: every candidate, what is known of it, and why it won or did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgegen.core.figures import Figure, Limit
from edgegen.core.units import steps_text

SCHEMA_VERSION = 1

Standing = Literal[
    "winner",  # the smallest that meets every limit, of its group
    "fits",  # meets every limit, and is larger, or was preferred less
    "breaks",  # a figure that was measured, or is predicted beyond doubt, breaks a limit
    "unknown",  # a limit needs a figure that nobody has
    "failed",  # could not be built, checked or measured
    "not needed",  # cannot win any more, so it was not tried
    "not tried",  # the run ended before
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A candidate: what would be built, and how it would draw.

    Of the steps those until `guidance_stop`, 0…1, are guided, and one in `cache_interval` computes
    all layers.
    """

    model: str
    target: str
    recipe: str
    steps: int
    width: int
    height: int
    guidance_stop: float = 1.0
    cache_interval: int = 1

    @property
    def drawn(self) -> str:
        """Return how it draws: `25 steps`, or `25 steps, all layers in one of 3`."""
        part = "" if self.guidance_stop == 1 else f", guided until {self.guidance_stop:g}"
        return steps_text(self.steps, self.cache_interval) + part

    @property
    def name(self) -> str:
        """Return what it is called in tables: `scenes-4step, onnx int8, 4 steps, 64×64`."""
        model = self.model.removeprefix("builtin:")
        size = f"{self.width}×{self.height}"
        return f"{model}, {self.target} {self.recipe}, {self.drawn}, {size}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A candidate in the table of a choice.

    `figures` is by the names of `core.figures.FIGURES`; a name that is missing is unknown. `broken`
    are the limits that it breaks, the worst first. `why` is a sentence where it failed or nobody
    knows. `package` is its folder and `evaluation` and `measurement` its files, relative to the
    result's folder, where they were made; `needed` are the options, with stand-ins, without which
    `edgegen run` draws nothing with that package. `built` and `measured` say whether this run did
    so itself; what was in the cache was neither.
    """

    way: Way
    figures: Mapping[str, Figure]
    standing: Standing
    broken: tuple[Limit, ...] = ()
    why: str = ""
    package: str | None = None
    needed: tuple[str, ...] = ()
    evaluation: str | None = None
    measurement: str | None = None
    built: bool = False
    measured: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A change that would help where nothing passes, and what it is predicted to do."""

    change: str
    way: Way | None = None
    predicted: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a run of a choice did and took; what the cache had is in neither count."""

    wall_s: float
    conversions: int
    evaluations: int
    measurements: int
    conversion_s: float
    evaluation_s: float
    measurement_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen of which candidates, under which limits, for which device.

    `device` is the address of the device that was measured, None where it is not here; `profile`
    the profile's name. `rows` are all candidates, the smallest first. `interrupted` says what ended
    the run before it was done.
    """

    schema_version: int
    command: str
    device: str | None
    device_title: str
    profile: str | None
    limits: tuple[Limit, ...]
    rows: tuple[Row, ...]
    advice: tuple[Advice, ...] = ()
    spent: Spent
    started_at: str
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    interrupted: str | None = None

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version is {self.schema_version}; this edgegen reads {SCHEMA_VERSION}"
            )

    @property
    def winners(self) -> tuple[Row, ...]:
        """Return the winner, or one a model where models cannot be compared; none: empty."""
        return tuple(row for row in self.rows if row.standing == "winner")
