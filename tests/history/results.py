"""An evaluation made up of a few pictures, for tests of what keeps or compares evaluations."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.evaluation import (
    SCHEMA_VERSION,
    Evaluation,
    PictureResult,
    Spread,
    SuiteResult,
)


def evaluation(psnrs: Sequence[float] = (30.0, 28.0, 35.0), *, manifest: str = "01") -> Evaluation:
    """An evaluation on the suite `known`; its pictures have these PSNRs, and 30 dB is right."""
    pictures = tuple(
        PictureResult(
            suite="known",
            kind="one thing" if index % 2 else "two things",
            prompt=f"picture {index}",
            seed=index,
            scores={"psnr": psnr, "ssim": min(1.0, psnr / 40)},
            right=psnr >= 30,
            reference_right=True,
        )
        for index, psnr in enumerate(psnrs)
    )
    mean = sum(psnrs) / len(psnrs)
    spread = Spread(
        count=len(psnrs),
        mean=mean,
        median=sorted(psnrs)[len(psnrs) // 2],
        worst=min(psnrs),
        p10=min(psnrs),
        p90=max(psnrs),
    )
    return Evaluation(
        schema_version=SCHEMA_VERSION,
        manifest_sha256=manifest * 32,
        model="builtin:scenes",
        weights_sha256="ab" * 32,
        target="onnx",
        recipe="fp16-storage",
        runtime="onnxruntime 1.32.0",
        steps=8,
        guidance=3.0,
        width=64,
        height=64,
        reference="torch 2.13.0",
        reference_steps=8,
        suites=(
            SuiteResult(
                suite="known",
                pictures=len(psnrs),
                metrics={"psnr": spread},
                faults={},
                right=sum(each.right or False for each in pictures) / len(pictures),
                reference_right=1.0,
            ),
        ),
        pictures=pictures,
    )
