"""One hash over all weights of a model, so that a package can be compared with its source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from edgegen.core.model import Component
from edgegen.core.progress import Progress
from edgegen.models.pipeline_source import folder_source, open_source


def weights_sha256(model: Path, components: Sequence[Component], progress: Progress) -> str:
    """Return a hash over the names and bytes of the weight files of all components.

    `model` is the pipeline's folder; a folder that two components share is read once.
    Raises SourceError where weights are missing or damaged.
    """
    variants = {component.folder: component.variant for component in components}
    source = open_source(folder_source(model))
    opened = {
        folder: source.weights(folder, variant) for folder, variant in sorted(variants.items())
    }
    total = sum(weights.size_bytes for weights in opened.values())
    digest = hashlib.sha256()
    with progress.step("hashing the model", total=total, unit="bytes") as step:
        for folder, weights in opened.items():
            digest.update(f"{folder} {weights.sha256()}\n".encode())
            step.advance(weights.size_bytes)
    return digest.hexdigest()
