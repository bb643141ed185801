"""Values of evaluations for tests, without a picture being drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgegen.core.evaluation import SCHEMA_VERSION, Evaluation, PictureResult
from edgegen.evaluate.summary import sum_up

PLAIN: Mapping[str, Any] = {"suite": "known", "kind": "things", "prompt": "a cat", "seed": 0}


def result(psnr: float | None = 40.0, **fields: Any) -> PictureResult:
    """Return the result of a picture; `fields` replace those of `PLAIN`."""
    scores = fields.pop("scores", {"psnr": psnr})
    return PictureResult(**{**PLAIN, "scores": scores, **fields})


def results(ratios: Sequence[float | None], **fields: Any) -> list[PictureResult]:
    """Return a picture of a prompt of its own for each PSNR."""
    return [result(ratio, prompt=f"prompt {index}", **fields) for index, ratio in enumerate(ratios)]


def evaluation(pictures: Sequence[PictureResult], **fields: Any) -> Evaluation:
    """Return the evaluation of pictures."""
    suites: dict[str, list[PictureResult]] = {}
    for picture in pictures:
        suites.setdefault(picture.suite, []).append(picture)
    plain: Mapping[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "manifest_sha256": "0" * 64,
        "model": "builtin:scenes",
        "weights_sha256": "1" * 64,
        "target": "onnx",
        "recipe": "fp16",
        "runtime": "onnxruntime, local",
        "steps": 4,
        "guidance": 1.0,
        "width": 64,
        "height": 64,
        "reference": "diffusers, float32",
        "reference_steps": 4,
        "suites": tuple(sum_up(name, members) for name, members in suites.items()),
        "pictures": tuple(pictures),
    }
    return Evaluation(**{**plain, **fields})
