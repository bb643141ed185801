"""What a pruned model was made from, as the file in its folder says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import load_json
from edgegen.core.errors import ConfigError, SourceError

ORIGIN_NAME = "pruned.json"
MADE_PLACE = "pruned"
"""The folder of the cache with pruned models that nobody named a folder for."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How a pruned model was taught by its original.

    `steps` of training took `seconds`, on `device`, with batches of so many pictures, from
    `prompts` prompts. `loss_before` and `loss_after` are those of trajectories that it did not
    learn from.
    """

    seconds: float
    steps: int
    batch: int
    prompts: int
    device: str
    loss_before: float
    loss_after: float
    is_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A pruned model's original, and what was done to it.

    `model`, `revision` and `weights_sha256` are the original's, which is drawn best in `steps` with
    `guidance`. Of `numbers` weights of its denoiser `kept_numbers` stayed. `what` are the kinds of
    cuts that were allowed.
    """

    schema_version: int
    model: str
    revision: str | None
    variant: str | None
    weights_sha256: str
    steps: int
    guidance: float
    numbers: int
    kept_numbers: int
    what: tuple[str, ...]
    recovery: Recovery | None = None

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version is {self.schema_version}; this edgegen reads {SCHEMA_VERSION}"
            )
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}")


def read_origin(folder: Path) -> Origin | None:
    """Return what a model was pruned from; None for one that was not.

    Raises SourceError where the file cannot be read.
    """
    path = folder / ORIGIN_NAME
    if not path.is_file():
        return None
    try:
        return load_json(Origin, path)
    except ConfigError as error:
        raise SourceError(error.message, hint=f"Prune the model again. {error.hint}") from error
