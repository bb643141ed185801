"""What was found of a package's pictures, beside those of the model that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgegen.core.recipe import Arithmetic
from edgegen.core.units import steps_text

SCHEMA_VERSION = 1

EQUAL_DB = 100.0
"""What the PSNR of equal pictures counts as in means and limits; a higher one counts as this."""

METRIC_TITLES: Mapping[str, str] = {"psnr": "PSNR", "ssim": "SSIM", "flip": "FLIP", "clip": "CLIP"}
"""What the metrics of pictures are called, in the order of tables; another one keeps its name."""

Fault = Literal["black", "constant", "not finite", "noise"]
"""What a picture is that shows nothing."""

FAR_DB: Mapping[Fault, float] = {"black": 50.0, "constant": 50.0, "noise": 30.0}
"""Below this PSNR a picture that shows nothing is far from its reference, and lost.

One of one color is within 48 dB of one that varies by a level, and has lost all of it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureResult:
    """A picture of a package beside the reference's of the same prompt, seed and noise.

    `scores` has the paired metrics by name (`psnr`, `ssim`, `flip`, …); psnr is None where the
    pictures are equal. `steps_psnr_db` is that of the latents after each step, where they were
    kept. `fault` is what is wrong with the package's picture, `reference_fault` with the
    reference's. `right` and `reference_right` say whether they show what was asked for, None where
    nobody can tell; `wrong` names what does not (`count`, `colour`).
    """

    suite: str
    kind: str
    prompt: str | None
    seed: int
    scores: Mapping[str, float | None]
    steps_psnr_db: tuple[float | None, ...] = ()
    fault: Fault | None = None
    reference_fault: Fault | None = None
    right: bool | None = None
    reference_right: bool | None = None
    wrong: tuple[str, ...] = ()

    @property
    def is_lost(self) -> bool:
        """Return whether the package's picture shows nothing, where the reference's does.

        Pictures on both sides of a fault's threshold may be near each other; then nothing is lost.
        """
        if self.fault == "not finite":
            return self.reference_fault != "not finite"
        is_nothing_too = self.reference_fault in (self.fault, "black", "constant", "not finite")
        if self.fault is None or is_nothing_too:
            return False
        if "psnr" not in self.scores:
            return True
        psnr_db = self.scores["psnr"]
        return psnr_db is not None and psnr_db < FAR_DB[self.fault]

    @property
    def is_uncompared(self) -> bool:
        """Return whether no metric could compare it, though the reference's picture is finite."""
        return not self.scores and self.reference_fault != "not finite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a metric is distributed over pictures. `worst` is on the bad side of the metric.

    `equal` pictures are the same as the reference's; their PSNR counts as `EQUAL_DB`.
    """

    count: int
    mean: float
    median: float
    worst: float
    p10: float
    p90: float
    equal: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """All pictures of a suite, summarised. `kinds` has the share of right pictures of each kind."""

    suite: str
    pictures: int
    metrics: Mapping[str, Spread]
    faults: Mapping[str, int]
    right: float | None = None
    reference_right: float | None = None
    kinds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A package's quality, paired: the same prompts, seeds and noise as its reference.

    The package drew at `steps`, `guidance` and its size; the reference at `reference_steps`.
    `runtime` is what ran the package, `arithmetic` the type in which it computed, None for the
    recipe's own, `reference` how the reference was made. `loras` are those that the package was
    given, as `name:scale (first digits of its hash)`; `weights_sha256` is of the weights with them
    added.
    """

    schema_version: int
    manifest_sha256: str
    model: str
    weights_sha256: str
    target: str
    recipe: str
    runtime: str
    loras: tuple[str, ...] = ()
    steps: int
    guidance: float
    arithmetic: Arithmetic | None = None
    guidance_start: float = 0.0
    guidance_stop: float = 1.0
    cache_interval: int = 1
    width: int
    height: int
    reference: str
    reference_steps: int
    suites: tuple[SuiteResult, ...]
    pictures: tuple[PictureResult, ...]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version is {self.schema_version}; this edgegen reads {SCHEMA_VERSION}"
            )

    @property
    def drawn(self) -> str:
        """Return how much a picture computes: `25 steps`, or `25 steps, all layers in one of 3`."""
        return steps_text(self.steps, self.cache_interval)
