"""The files of a golden case: what torch computed, as plain `.npy` files that any device can read.

`<component>.in.<input>.npy` and `<component>.out.<output>.npy` are a probe of each component;
`latents.npy` the noise that a run of few steps starts from, `trajectory.<i>.npy` what the
scheduler returned after call `i`, `image.npy` the image, (batch, channels, height, width) in −1…1.
A pipeline that starts from a picture has it in `input.png`, what to paint anew in `mask.png`, and
how near things are in `depth.png`; `control.0.png`, … are the pictures that steer it, and
`prompt.png` is the picture that is a part of its prompt.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from edgegen_runner.generation import PICTURE_NAMES

from edgegen.core.errors import IntegrityError
from edgegen.core.files import inside, translate_disk_errors
from edgegen.core.model import Component
from edgegen.core.package import GoldenCase
from edgegen.drawer import DrawRequest

Array = npt.NDArray[Any]

LATENTS_NAME = "latents.npy"
IMAGE_NAME = "image.npy"
MAXIMUM_ARRAY_BYTES = 1 << 30
"""No array of a golden case is larger, an activation of 2048 × 2048 pixels included."""

_DTYPES = (np.dtype("float32"), np.dtype("int64"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The inputs of a component and what torch computed from them, by name."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


def start_pictures(folder: Path) -> dict[str, Path]:
    """Return the pictures in a folder that a case starts from: `image`, `mask`, `depth`."""
    places = {name: folder / file for name, file in PICTURE_NAMES.items()}
    return {name: path for name, path in places.items() if path.is_file()}


def draw_request(case: GoldenCase, folder: Path) -> DrawRequest:
    """Return what is drawn in a case, from the pictures in `folder` where it starts from some."""
    given = start_pictures(folder)
    return DrawRequest(
        prompt=case.prompt,
        negative_prompt=case.negative_prompt,
        seed=case.seed,
        steps=case.steps,
        guidance=case.guidance,
        guidance_start=case.guidance_start,
        guidance_stop=case.guidance_stop,
        cache_interval=case.cache_interval,
        decode_tile=case.decode_tile,
        scheduler=case.scheduler,
        width=case.width,
        height=case.height,
        image=given.get("image"),
        mask=given.get("mask"),
        depth=given.get("depth"),
        strength=case.strength,
        controls=control_pictures(folder),
        image_guidance=case.image_guidance,
        noise_level=case.noise_level,
        class_label=case.class_label,
        picture_prompt=given.get("picture_prompt"),
    )


def control_name(index: int) -> str:
    """Return the name of a picture that steers a pipeline."""
    return f"control.{index}.png"


def control_pictures(folder: Path) -> tuple[Path, ...]:
    """Return the pictures of a folder that steer a pipeline, counted from 0 without a gap."""
    paths = (folder / control_name(index) for index in itertools.count())
    return tuple(itertools.takewhile(Path.is_file, paths))


def input_name(component: str, tensor: str) -> str:
    """Return the name of the file that holds an input of a component."""
    return f"{component}.in.{tensor}.npy"


def output_name(component: str, tensor: str) -> str:
    """Return the name of the file that holds an output of a component."""
    return f"{component}.out.{tensor}.npy"


def trajectory_name(index: int) -> str:
    """Return the name of the file that holds the latents after one call of the scheduler."""
    return f"trajectory.{index}.npy"


def write_array(folder: Path, name: str, value: Array) -> None:
    """Write one array of a golden case, in C order.

    Raises ResourceError where the disk is full.
    """
    if value.dtype not in _DTYPES:
        raise TypeError(f"a golden case holds float32 and int64, not {value.dtype}")
    with translate_disk_errors(folder), (folder / name).open("wb") as file:
        np.lib.format.write_array(
            file, np.ascontiguousarray(value).reshape(value.shape), (1, 0), allow_pickle=False
        )


def read_array(folder: Path, name: str) -> Array:
    """Read one array of a golden case, or anything else that is written as they are.

    Nothing is unpickled, and the header is believed only where it agrees with the file's size.
    Raises IntegrityError where the file is missing, or is not such an array.
    """
    path = inside(folder, name)
    hint = "Build the package again: its golden case is not whole."
    try:
        if path.stat().st_size > MAXIMUM_ARRAY_BYTES:
            raise IntegrityError(f"{path} is larger than any array of a golden case.", hint=hint)
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"version {version}")
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
            size_bytes = math.prod(shape) * dtype.itemsize
            if dtype not in _DTYPES or min(shape, default=0) < 0:
                raise ValueError(f"{dtype} {shape}")
            if file.tell() + size_bytes != path.stat().st_size:
                raise ValueError(f"{path.stat().st_size} bytes do not hold {shape} of {dtype}")
            values: Array = np.frombuffer(file.read(size_bytes), dtype=dtype)
            return values.reshape(shape, order="F" if fortran_order else "C")
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing.", hint=hint) from error
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}.", hint=hint) from error


def read_probe(folder: Path, component: Component) -> Probe:
    """Read a component's probe: every input and every output that the component has.

    Raises IntegrityError where one is missing.
    """
    return Probe(inputs=read_inputs(folder, component), outputs=read_outputs(folder, component))


def read_inputs(folder: Path, component: Component) -> dict[str, Array]:
    """Read the inputs of a component's probe. Raises IntegrityError where one is missing."""
    name = component.name
    return {it.name: read_array(folder, input_name(name, it.name)) for it in component.inputs}


def read_outputs(folder: Path, component: Component) -> dict[str, Array]:
    """Read the outputs of a component's probe. Raises IntegrityError where one is missing."""
    name = component.name
    return {it.name: read_array(folder, output_name(name, it.name)) for it in component.outputs}


def count_trajectory(folder: Path) -> int:
    """Return how many calls of the scheduler a golden case has, counted from 0 without a gap."""
    count = 0
    while (folder / trajectory_name(count)).is_file():
        count += 1
    return count
