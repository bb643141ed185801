"""Draws prompts with diffusers in torch, for the demonstration to compare with.

One JSON object on standard input says what to draw; each prompt is a line on standard output once
its picture is written. `demo.py` starts this as a process of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    """Do the job on standard input; return the exit code."""
    job = json.loads(sys.stdin.readline())

    import numpy as np
    import torch
    from diffusers import DiffusionPipeline
    from edgegen_runner.png import encode_png

    from edgegen.cli.console import Console

    console = Console()
    # The file holds 16-bit weights; the arithmetic is 32-bit on both sides.
    pipeline = DiffusionPipeline.from_pretrained(job["model"], local_files_only=True)
    pipeline.to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    for drawing in job["drawings"]:
        image = pipeline(
            drawing["prompt"],
            num_inference_steps=job["steps"],
            guidance_scale=job["guidance"],
            generator=torch.Generator().manual_seed(drawing["seed"]),
        ).images[0]
        Path(drawing["file"]).write_bytes(encode_png(np.asarray(image)))
        console.print(drawing["prompt"])
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
