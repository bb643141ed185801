"""What diffusers draws of a checkpoint that its own loader has read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray


def drawn_by_diffusers(
    class_name: str, file: Path, folder: Path, arguments: dict[str, Any]
) -> NDArray[Any]:
    """Return what diffusers draws of a file that its own loader has read."""
    import diffusers

    pipeline = getattr(diffusers, class_name).from_single_file(
        str(file), config=str(folder), local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            for parameter in part.parameters():
                parameter.data = parameter.data.float().clone()
    images: NDArray[Any] = pipeline(**arguments).images
    return images.transpose(0, 3, 1, 2) * 2 - 1
