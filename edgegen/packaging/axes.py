"""Which axes and tensors of a component its artifact has: what the target and the plan fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgegen.core.axes import axis_size
from edgegen.core.model import Component, PipelineSpec, TensorSpec, main_role
from edgegen.core.profile import Shapes
from edgegen.families import family_of
from edgegen.networks import part_of

_STATES = "hidden_states."


def used_outputs(component: Component, spec: PipelineSpec) -> Component:
    """Return a text encoder with only the outputs that its pipeline reads."""
    if component.role != "text_encoder":
        return component
    states = [it for it in component.outputs if it.name.startswith(_STATES)]
    named = {it.name: it for it in component.outputs}
    # a state may be counted from the end: `hidden_states.-2`
    named |= {f"{_STATES}{index - len(states)}": state for index, state in enumerate(states)}
    wanted = family_of(spec.family).text_outputs
    return replace(component, outputs=tuple(named[name] for name in wanted if name in named))


def fix_axes(
    component: Component, spec: PipelineSpec, shapes: Shapes, *, denoiser_batch: int = 2
) -> Component:
    """Return a component with the axes that its artifact fixes as numbers.

    A text encoder's sequence is always its text length: pipelines pad to it. With fixed shapes, and
    for axes that the network itself fixes, the size is the one that `spec` names, and the batch
    that of one image: for a denoiser whose guidance compares with an empty prompt `denoiser_batch`,
    and all that are compared where that is more than one. An encoder of pictures that are enlarged
    takes smaller ones, and a decoder of tiles takes a tile.
    """
    generation = spec.generation
    guided = main_role(component.role) == "denoiser" and spec.facts.guidance == "classifier-free"
    enlarged = spec.facts.enlarges if component.role == "encoder" else 1
    at_once = spec.facts.predictions if denoiser_batch > 1 else 1
    sizes = {
        "batch": at_once if guided else 1,
        **({} if generation.text_length is None else {"sequence": generation.text_length}),
        "height": generation.height // enlarged,
        "width": generation.width // enlarged,
    }
    if component.role == "decoder" and generation.decode_tile is not None:
        tile = generation.decode_tile * generation.vae_scale_factor
        sizes |= {name: min(sizes[name], tile) for name in ("height", "width")}
    if shapes == "dynamic":
        fixed = {*part_of(component).fixed_axes}
        fixed |= {"sequence"} if component.role == "text_encoder" else set()
        sizes = {name: size for name, size in sizes.items() if name in fixed}
    return replace(
        component,
        inputs=tuple(_fix(tensor, sizes) for tensor in component.inputs),
        outputs=tuple(_fix(tensor, sizes) for tensor in component.outputs),
    )


def _fix(tensor: TensorSpec, sizes: Mapping[str, int]) -> TensorSpec:
    return replace(tensor, shape=tuple(axis_size(axis, sizes) for axis in tensor.shape))


def timestep_for_each(component: Component) -> Component:
    """Return a component whose timestep has the batch of its samples."""
    if main_role(component.role) != "denoiser":
        return component
    batch = component.inputs[0].shape[0]
    inputs = tuple(
        replace(tensor, shape=(batch,)) if tensor.name == "timestep" else tensor
        for tensor in component.inputs
    )
    return replace(component, inputs=inputs)


def whole_timestep(component: Component) -> Component:
    """Return a component whose timestep is a whole number, as a vector of one."""
    inputs = tuple(
        replace(tensor, dtype="int64", shape=(1,)) if tensor.name == "timestep" else tensor
        for tensor in component.inputs
    )
    return replace(component, inputs=inputs)
