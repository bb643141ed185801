"""An adapter on a model that is one file: what holds of the file still holds."""

from __future__ import annotations

from pathlib import Path

from edgegen.models.adapters.adapted import AdaptedWeights
from edgegen.models.checkpoint_weights import CheckpointWeights
from edgegen.models.weights import Weights


def adapted(base: CheckpointWeights | Weights) -> AdaptedWeights:
    return AdaptedWeights(base=base, added=(), grown=(), entries={}, fingerprint="")


def test_keys_that_match_nothing_stay_errors_behind_an_adapter() -> None:
    strict = CheckpointWeights(file=Path("model.safetensors"), part=None, entries={})
    lenient = Weights(folder=Path("unet"), variant=None, files=(), entries={})
    assert adapted(strict).takes_all_keys
    assert not adapted(lenient).takes_all_keys
