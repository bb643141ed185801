"""Captures a component's computation without its weights: one graph that every target lowers.

The network is built from its config on fake tensors and traced by `torch.export`, which keeps the
composite operators (`linear`, `group_norm`, `scaled_dot_product_attention`) that targets have too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.codec import load_json_object
from edgegen.core.errors import ExportError
from edgegen.core.model import Component
from edgegen.core.profile import Shapes

if TYPE_CHECKING:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

TRACED_BATCH = 2
NETWORK = "network."


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A traced component.

    `parameters` maps the graph's placeholders to the network's parameter names, `constants` to
    the values of buffers and lifted tensors.
    """

    component: Component
    program: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    parameters: Mapping[str, str]
    constants: Mapping[str, torch.Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    upcast_attention: bool = False


def capture(component: Component, folder: Path, *, shapes: Shapes) -> Capture:
    """Trace a component whose config lies in `folder`.

    With dynamic `shapes` the axes that `component.inputs` names are symbolic; otherwise all are
    the numbers of `component.inputs`. Raises ExportError where torch cannot trace the network.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.export.graph_signature import InputKind

    from edgegen.exporters.wrappers import wrap
    from edgegen.reference.modules import build_module

    network = build_module(folder, component.class_name)
    expected = {name: tuple(value.shape) for name, value in network.named_parameters()}
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    wrapper = wrap(_with_fake_parameters(network, mode), component)
    sizes = _axis_sizes(component)
    with mode:
        arguments = tuple(
            torch.zeros(
                [sizes[axis] if isinstance(axis, str) else axis for axis in tensor.shape],
                dtype=getattr(torch, tensor.dtype),
            )
            for tensor in component.inputs
        )
    try:
        with mode, torch.no_grad():
            program = torch.export.export(
                wrapper,
                arguments,
                dynamic_shapes=_dynamic_shapes(component) if shapes == "dynamic" else None,
                strict=False,
            )
    except Exception as error:  # torch.export raises whatever the network's own code raises
        raise ExportError(
            f"{component.name}: torch could not trace the {component.class_name}: {error}",
            hint="Please report the model's config: it takes a path that edgegen has not seen.",
        ) from error
    parameters: dict[str, str] = {}
    constants: dict[str, torch.Tensor] = {}
    inputs: list[str] = []
    for spec in program.graph_signature.input_specs:
        name = spec.arg.name
        if spec.kind is InputKind.PARAMETER:
            parameters[name] = str(spec.target).removeprefix(NETWORK)
        elif spec.kind is InputKind.USER_INPUT:
            inputs.append(name)
        else:
            constants[name] = _constant(program, str(spec.target))
    return Capture(
        component=component,
        program=program,
        inputs=tuple(inputs),
        parameters=parameters,
        constants=constants,
        shapes=expected,
        upcast_attention=bool(load_json_object(folder / "config.json").get("upcast_attention")),
    )


def layer_of(node: torch.fx.Node) -> str:
    """Return the module path of a traced node inside its network, `` for the network itself."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return path.removeprefix(NETWORK.rstrip(".")).removeprefix(".")


def _with_fake_parameters(network: torch.nn.Module, mode: FakeTensorMode) -> torch.nn.Module:
    import torch

    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                with mode:
                    fake = torch.empty(parameter.shape, dtype=torch.float32)
                module._parameters[name] = torch.nn.Parameter(fake, requires_grad=False)
    return network


def _axis_sizes(component: Component) -> dict[str, int]:
    """Choose a size for each symbolic axis: distinct, so that no two are taken for one."""
    sizes = {"batch": TRACED_BATCH, "sequence": 77}
    spatial = iter((64, 96))
    for tensor in component.inputs:
        for axis in tensor.shape:
            if isinstance(axis, str) and axis not in sizes:
                sizes[axis] = next(spatial)
    return sizes


def _dynamic_shapes(component: Component) -> tuple[Any, ...]:
    import torch

    auto = torch.export.Dim.DYNAMIC
    shapes: list[Any] = [
        {i: auto for i, axis in enumerate(tensor.shape) if isinstance(axis, str)} or None
        for tensor in component.inputs
    ]
    if len(shapes) > 3:  # the wrapper takes the further conditions as `*conditions`
        return (*shapes[:3], tuple(shapes[3:]))
    return tuple(shapes)


def _constant(program: torch.export.ExportedProgram, target: str) -> torch.Tensor:
    held = program.constants.get(target)
    if held is None:
        held = program.state_dict.get(target)
    if held is None:
        raise ExportError(f"The graph's constant {target} has no value.")
    return held
