"""What a file of this room declares: a network, and the components that a package makes of it.

A network is a frozen value, and its functions are pure. torch, diffusers and transformers are
imported inside those that need them, so that the room can be read without a toolkit.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from re import Pattern
from typing import Any, Literal, Protocol

from edgegen.core.configs import ComponentConfig
from edgegen.core.model import DType, Generation, Role, TensorSpec
from edgegen.core.model import NativeTensor as NativeTensor

OWN_KEYS = "edgegen_"
"""How keys of a config begin that edgegen writes, and no class reads."""
Signature = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
"""Inputs and outputs."""
Tensors = Mapping[str, Any]
"""torch's tensors, by the names that a signature gives them."""
Options = Mapping[str, tuple[Any, ...]]
"""Setting of a config -> the values that it may have; where it is a list, each of its entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """What a signature takes from the rest of the pipeline.

    `scale` is pixels a latent, `pooled_width` the width of the last text encoder's projection.
    `steering` are the outputs of the networks that steer the denoiser, of the first of them.
    `patches` is how many states a picture has of which an IP-Adapter makes tokens; None where it
    makes them of the picture's embedding.
    """

    scale: int = 1
    pooled_width: int | None = None
    steering: tuple[TensorSpec, ...] = ()
    patches: int | None = None


class Probing(Protocol):
    """What the input of a probe can be made of.

    `generator` is torch's, seeded for the input that is being made.
    """

    @property
    def pipeline(self) -> Any:
        """Return the diffusers pipeline."""

    @property
    def generation(self) -> Generation:
        """Return what the pipeline's denoising loop knows."""

    @property
    def generator(self) -> Any:
        """Return torch's generator for the input."""

    @property
    def latent_deviation(self) -> float:
        """Return the standard deviation of the latents that the denoiser leaves."""

    @property
    def height(self) -> int:
        """Return the height of the image in pixels."""

    @property
    def width(self) -> int:
        """Return the width of the image in pixels."""

    def tokens(self, tensor: TensorSpec) -> Tensors:
        """Return what the component's tokenizer makes of prompts: `input_ids`, `attention_mask`."""

    def text(self, tensor: TensorSpec) -> Tensors:
        """Return what the pipeline makes of prompts for its denoiser, by the denoiser's inputs."""

    def whole(self) -> Tensors:
        """Return what the whole denoiser computes from the inputs of its own probe."""

    def steering(self) -> Tensors:
        """Return what the first network that steers the denoiser computes from its own probe."""


Probe = Callable[[Probing, TensorSpec, tuple[int, ...]], Any]
"""Makes one input of a component; the numbers are its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeNames:
    """What a target's own ecosystem calls a component.

    `file` is its compiled model's, `{number}` in it that of the slot where a pipeline has several;
    `steered_file` takes its place where another network steers the component. `chunked` says that
    the ecosystem can load it cut in two. `tensors` maps a signature's names, or patterns of them
    (`hidden_states.*`); whatever is missing there keeps its name.
    """

    file: str
    steered_file: str | None = None
    tensors: Mapping[str, NativeTensor] = field(default_factory=dict)
    chunked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A component that a network makes: most make one, an autoencoder makes two.

    `suffix` is added to the slot's name (`vae` makes `vae_decoder`), and `prefixes` are those of
    its layers' paths and of its keys in weight files. `forward` computes the outputs from the
    inputs, both by name, for the export and for the probes that it is compared with. `fixed_axes`
    are those whose size the graph holds in its constants, so that no target can leave them open.
    `float32_layers` are patterns of layers whose arithmetic doesn't survive float16,
    `sensitive_layers` of those that lose most with few bits: first and last ones, embeddings,
    modulation. `natives` are the names of each target whose ecosystem has some.
    """

    role: Role
    signature: Callable[[ComponentConfig, Neighbours], Signature]
    forward: Callable[[Any, Tensors], Tensors]
    probe: Probe
    suffix: str = ""
    prefixes: tuple[str, ...] = ("",)
    fixed_axes: tuple[str, ...] = ()
    float32_layers: tuple[str, ...] = ()
    sensitive_layers: tuple[str, ...] = ()
    natives: Mapping[str, NativeNames] = field(default_factory=dict)


def _no_names(_key: str) -> Iterable[str]:
    return ()


def _no_other_names(_modules: Collection[str]) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRules:
    """How the keys of weight files differ from the parameters of the network.

    `newer` yields what a key may be called today. Keys that begin with one of `ignored` are known
    to be no parameters, unless a parameter has their name. `layer` matches the keys of numbered
    layers: those behind the last one that the config names are left out. Each parameter of `tied`
    shares the tensor of another. `elsewhere` gives the names that modules have in other code, by
    which adapters are saved.
    """

    newer: Callable[[str], Iterable[str]] = _no_names
    ignored: tuple[str, ...] = ()
    layer: Pattern[str] | None = None
    tied: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Callable[[Collection[str]], Mapping[str, str]] = _no_other_names


def _as_it_is(_network: Any, _config: Mapping[str, Any]) -> None:
    return None


def nothing(_config: ComponentConfig) -> None:
    """Return that a network has no such thing, or that there is nothing to check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A class of diffusers or transformers.

    Models that were saved before it got that name may give one of `old_names`. `config_class` is
    what transformers builds it from. `options` are the settings that decide which layers it has,
    with the values that every target can hold; `check` refuses what they cannot say. `complete`
    adds to a network what keys of edgegen say in its config. A `prunable` one may be narrower than
    its settings say (`pruned.py`).
    """

    class_name: str
    library: Literal["diffusers", "transformers"]
    parts: tuple[Part, ...]
    old_names: tuple[str, ...] = ()
    config_class: str | None = None
    options: Options = field(default_factory=dict)
    check: Callable[[ComponentConfig], None] = nothing
    complete: Callable[[Any, Mapping[str, Any]], None] = _as_it_is
    keys: KeyRules = KeyRules()
    prunable: bool = False

    def load_class(self) -> Any:
        """Import the class. Raises ImportError without its library."""
        return getattr(importlib.import_module(self.library), self.class_name)

    def build(self, config: Mapping[str, Any]) -> Any:
        """Build the whole network from its config; raises whatever its class raises."""
        whole = {key: value for key, value in config.items() if not key.startswith(OWN_KEYS)}
        if self.config_class is None:
            network = self.load_class().from_config(whole)
            self.complete(network, config)
            return network
        settings = getattr(importlib.import_module(self.library), self.config_class)
        return self.load_class()(settings.from_dict(whole))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoder(Network):
    """A network that reads tokens.

    `width` is that of its states, `pooled_width` that of its projection (None without one), and
    `positions` the most tokens that it can take (None where there is no limit). `words` is the
    layer with a vector for each token, where tokens can be added.
    """

    width: Callable[[ComponentConfig], int]
    pooled_width: Callable[[ComponentConfig], int | None]
    positions: Callable[[ComponentConfig], int | None]
    words: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoder(Network):
    """A network that looks at a picture.

    `width` is that of the picture's embedding; it has states of so many `patches`, each
    `patch_width` wide.
    """

    width: Callable[[ComponentConfig], int]
    patch_width: Callable[[ComponentConfig], int]
    patches: Callable[[ComponentConfig], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caching:
    """How a denoiser keeps features between steps: two components, a whole and a shallow one.

    `signature` is that of the whole one, which gives features besides its prediction. The shallow
    one, `part`, computes only layers of `prefixes`, on the sample and features of a step before.
    `check` raises ConfigError for a config whose layers cannot be told apart so. `kept` yields the
    modules of a network whose outputs a step may take from one before.
    """

    signature: Callable[[ComponentConfig, Neighbours], Signature]
    part: Part
    prefixes: Callable[[ComponentConfig], tuple[str, ...]]
    check: Callable[[ComponentConfig], None]
    kept: Callable[[Any], Iterable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoiser(Network):
    """A network that predicts noise.

    `taken` and `predicted` are its channels. `native_size` is width and height of its sample as
    trained, in latents, and `multiple` what a sample's height and width have to be multiples of;
    its innermost features are `reduction` times smaller than the sample. `text_width` is the
    setting that says how wide the states of the text are, and its value; None where it reads no
    text. `guidance_width` is that of the guidance scale's embedding; None where it takes none.
    Of one whose config has an IP-Adapter, `picture_part` makes tokens of a picture.
    `classes` is how many class labels it knows; None where it takes none. `caching` is None for a
    network whose features are not kept between steps.
    """

    taken: Callable[[ComponentConfig], int]
    predicted: Callable[[ComponentConfig], int]
    native_size: Callable[[ComponentConfig, int], tuple[int, int]]
    multiple: Callable[[ComponentConfig], int]
    reduction: Callable[[ComponentConfig], int]
    text_width: Callable[[ComponentConfig], tuple[str, Any] | None]
    guidance_width: Callable[[ComponentConfig], int | None]
    classes: Callable[[ComponentConfig], int | None] = nothing
    caching: Caching | None = None
    picture_part: Part | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering(Network):
    """A network that steers a denoiser by a picture: its outputs are added to features of that.

    They are inputs of the denoiser, by the same names.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoencoder(Network):
    """A network that turns pictures into latents and back; `scale` is pixels a latent."""

    scale: Callable[[ComponentConfig], int]
    latent_channels: Callable[[ComponentConfig], int]
    scaling_factor: Callable[[ComponentConfig], float]


def tensor(name: str, *shape: int | str, dtype: DType = "float32") -> TensorSpec:
    """Return an input or output. An axis with a name may be of any size."""
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def scaled(axis: str, scale: int) -> str:
    """Return the axis of latents: `height / 8`, or `height` where a latent is a pixel."""
    return axis if scale == 1 else f"{axis} / {scale}"
