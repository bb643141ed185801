"""Captures a component's computation without its weights: one graph that every target lowers.

The network is built from its config on fake tensors and traced by `torch.export`, which keeps the
composite operators (`linear`, `group_norm`, `scaled_dot_product_attention`) that targets have too.

Where axes stay open the network is traced at two sizes, and the traces are compared: a number that
is the same in both is a constant, one that differs is a `Size`. That takes less than half of the
time of one trace with symbolic shapes (docs/decisions/0006-two-traces.md), and is as strict: traces
that differ in more than numbers are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.axes import axis_size, named_axis
from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import ExportError
from edgegen.core.model import Component
from edgegen.core.profile import Shapes
from edgegen.networks import network_of
from edgegen.networks.base import Denoiser

if TYPE_CHECKING:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

NETWORK = "network"

TRACED_SIZES: Mapping[str, tuple[int, int]] = {
    "batch": (2, 3),
    "sequence": (77, 50),
    "height": (128, 320),
    "width": (192, 256),
}
"""Sizes of the two traces. Each axis has a ratio of its own, and so has each product of axes, so
that equal pairs of numbers mean equal axes; heights and widths halve six times."""

UNEVEN_SIZES: Mapping[str, tuple[int, int]] = {
    **TRACED_SIZES,
    "height": (133, 325),
    "width": (225, 289),
}
"""The same for a denoiser that takes any size: diffusers hands the sizes of the skips to the blocks
that upsample only where they do not halve evenly."""


@dataclass(frozen=True, slots=True)
class Size:
    """A number that depends on the inputs' sizes, as the two traces saw it."""

    first: int
    second: int


Axis = int | Size
Shape = tuple[Axis, ...]


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A traced component.

    `graph` is the first trace; `shapes` and `arguments` are what both traces say of its nodes: the
    shapes of a node's results, and its arguments with a `Size` wherever they differ. `parameters`
    maps placeholders to the network's parameter names (whose shapes are `parameter_shapes`),
    `constants` to the values of buffers and lifted tensors; `inputs` are the placeholders of the
    component's inputs, in order.
    """

    component: Component
    graph: torch.fx.Graph
    shapes: Mapping[torch.fx.Node, tuple[Shape, ...]]
    arguments: Mapping[torch.fx.Node, tuple[tuple[Any, ...], Mapping[str, Any]]]
    inputs: tuple[str, ...]
    parameters: Mapping[str, str]
    parameter_shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, torch.Tensor]
    upcast_attention: bool


def capture(component: Component, folder: Path, *, shapes: Shapes) -> Capture:
    """Trace a component whose config lies in `folder`.

    With dynamic `shapes` the axes that `component.inputs` names stay open; otherwise all are the
    numbers of `component.inputs`. Raises ExportError where torch cannot trace the network, or
    where what it computes, and not only how much, depends on the sizes.
    """
    from edgegen.exporters.resampling import with_plain_resampling
    from edgegen.exporters.wrappers import Wrapper
    from edgegen.reference.modules import build_module

    network = with_plain_resampling(build_module(folder, component.class_name))
    config = ComponentConfig.of_network(folder / "config.json")
    known = network_of(component.class_name)
    is_uneven = isinstance(known, Denoiser) and known.multiple(config) == 1
    return trace(
        component,
        network,
        Wrapper(network, component),
        shapes=shapes,
        sizes=UNEVEN_SIZES if is_uneven else TRACED_SIZES,
        upcast_attention=bool(config.data.get("upcast_attention")),
    )


def trace(
    component: Component,
    network: torch.nn.Module,
    wrapper: torch.nn.Module,
    *,
    shapes: Shapes,
    sizes: Mapping[str, tuple[int, int]] = TRACED_SIZES,
    upcast_attention: bool = False,
) -> Capture:
    """Trace `wrapper`, whose attribute `network` is `network`; its weights are forgotten.

    Raises ExportError as `capture` does.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    parameter_shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    first_names = _first_names(network)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    _with_fake_parameters(network, mode)
    first, second = _sizes(sizes)
    program = _trace(component, wrapper, mode, first)
    graph = program.graph
    other = _trace(component, wrapper, mode, second).graph if shapes == "dynamic" else graph
    node_shapes, arguments = _compare(component, graph, other)
    inputs, parameters, constants = _placeholders(program)
    return Capture(
        component=component,
        graph=graph,
        shapes=node_shapes,
        arguments=arguments,
        inputs=inputs,
        parameters={placeholder: first_names[name] for placeholder, name in parameters.items()},
        parameter_shapes=parameter_shapes,
        constants=constants,
        upcast_attention=upcast_attention,
    )


def layer_of(node: torch.fx.Node) -> str:
    """Return the module path of a traced node inside its network, `` for the network itself."""
    stack: Mapping[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return path.removeprefix(NETWORK).removeprefix(".")


def _with_fake_parameters(network: torch.nn.Module, mode: FakeTensorMode) -> None:
    """Give a network parameters without numbers; what was one parameter in two places stays one."""
    import torch

    made: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if parameter not in made:
                with mode:
                    fake = torch.empty(parameter.shape, dtype=torch.float32)
                made[parameter] = torch.nn.Parameter(fake, requires_grad=False)
            module._parameters[name] = made[parameter]


def _first_names(network: torch.nn.Module) -> dict[str, str]:
    """Return for each name of a parameter the first that it has; tied ones have several."""
    first: dict[torch.nn.Parameter, str] = {}
    named = network.named_parameters(remove_duplicate=False)
    return {name: first.setdefault(parameter, name) for name, parameter in named}


def _sizes(traced: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the sizes of the first and of the second trace, by axis."""
    first = {name: numbers[0] for name, numbers in traced.items()}
    second = {name: numbers[1] for name, numbers in traced.items()}
    return first, second


def _trace(
    component: Component, wrapper: torch.nn.Module, mode: FakeTensorMode, sizes: Mapping[str, int]
) -> torch.export.ExportedProgram:
    import torch

    scaled = _scaled(component, sizes)
    with mode:
        arguments = tuple(
            torch.zeros(
                [axis_size(axis, scaled) for axis in tensor.shape],
                dtype=getattr(torch, tensor.dtype),
            )
            for tensor in component.inputs
        )
    try:
        with mode, torch.no_grad(), _without_stack_traces():
            return torch.export.export(wrapper, arguments, strict=False)
    except Exception as error:  # torch.export raises whatever the network's own code raises
        raise ExportError(
            f"{component.name}: torch could not trace the {component.class_name}: {error}",
            hint="Please report the model's config: it takes a path that edgegen has not seen.",
        ) from error


def _scaled(component: Component, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return sizes with which the axes of a component's first input are what `sizes` says.

    So latents (`height / 8`) are traced at the same numbers as pictures: they halve as often.
    """
    named = dict(named_axis(it) for it in component.inputs[0].shape if isinstance(it, str))
    return {name: size * named.get(name, 1) for name, size in sizes.items()}


@contextmanager
def _without_stack_traces() -> Iterator[None]:
    """Leave out the lines of Python that each node came from: an eighth of a trace's time."""
    import torch.fx

    config: Any = torch.fx.config
    before = getattr(config, "do_not_emit_stack_traces", False)
    config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before


def _placeholders(
    program: torch.export.ExportedProgram,
) -> tuple[tuple[str, ...], dict[str, str], dict[str, torch.Tensor]]:
    from torch.export.graph_signature import InputKind

    inputs: list[str] = []
    parameters: dict[str, str] = {}
    constants: dict[str, torch.Tensor] = {}
    for spec in program.graph_signature.input_specs:
        name, target = spec.arg.name, str(spec.target)
        if spec.kind is InputKind.PARAMETER:
            parameters[name] = target.removeprefix(f"{NETWORK}.")
        elif spec.kind is InputKind.USER_INPUT:
            inputs.append(name)
        else:
            held = program.constants.get(target)
            constants[name] = program.state_dict[target] if held is None else held
    return tuple(inputs), parameters, constants


def _compare(
    component: Component, graph: torch.fx.Graph, other: torch.fx.Graph
) -> tuple[
    dict[torch.fx.Node, tuple[Shape, ...]],
    dict[torch.fx.Node, tuple[tuple[Any, ...], Mapping[str, Any]]],
]:
    """Read shapes and arguments off both traces, node by node."""
    first, second = list(graph.nodes), list(other.nodes)
    if len(first) != len(second):
        raise _depends(component, "the number of its operations")
    pairs = dict(zip(first, second, strict=True))
    shapes, arguments = {}, {}
    for node, twin in pairs.items():
        if node.op != twin.op or node.target != twin.target:
            raise _depends(component, f"{node.target} in {layer_of(node) or 'the top'}")
        shapes[node] = tuple(
            merged_shape(left, right)
            for left, right in zip(_shapes_of(node), _shapes_of(twin), strict=True)
        )
        try:
            arguments[node] = (
                _merge(node.args, twin.args, pairs),
                _merge(dict(node.kwargs), dict(twin.kwargs), pairs),
            )
        except ValueError as error:
            raise _depends(component, f"an argument of {node.target}") from error
    return shapes, arguments


def _depends(component: Component, what: str) -> ExportError:
    return ExportError(
        f"{component.name}: {what} depends on the size of the inputs.",
        hint="Take a profile with fixed shapes for this model, and please report its config.",
    )


def _shapes_of(node: torch.fx.Node) -> Sequence[tuple[int, ...]]:
    value = node.meta.get("val")
    values = value if isinstance(value, list | tuple) else [value]
    return [tuple(item.shape) for item in values if hasattr(item, "shape")]


def merged_shape(first: Sequence[int], second: Sequence[int]) -> Shape:
    """Return the shape of a value in both traces, with a `Size` where an axis is open."""
    return tuple(_merged_size(a, b) for a, b in zip(first, second, strict=True))


def _merged_size(left: int, right: int) -> Axis:
    return left if left == right else Size(left, right)


def _merge(left: Any, right: Any, pairs: Mapping[torch.fx.Node, torch.fx.Node]) -> Any:
    """Merge an argument of both traces; raises ValueError where more than a number differs."""
    from torch.fx import Node

    if type(left) is not type(right):
        raise ValueError("types differ")
    if isinstance(left, list | tuple):
        if len(left) != len(right):
            raise ValueError("lengths differ")
        return tuple(_merge(a, b, pairs) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict):
        return {key: _merge(value, right[key], pairs) for key, value in left.items()}
    if type(left) is int:
        return _merged_size(left, right)
    if isinstance(left, Node):
        if pairs[left] is not right:
            raise ValueError("nodes differ")
        return left
    if left != right:
        raise ValueError("values differ")
    return left
