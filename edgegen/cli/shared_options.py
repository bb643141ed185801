"""Options that several commands have: each is said once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, get_args

import click

from edgegen.cli.completion import complete_profile, complete_recipe
from edgegen.cli.numbers import NumberRange
from edgegen.core.errors import ConfigError
from edgegen.core.reading import Reading
from edgegen.core.recipe import Arithmetic, ArithmeticWish

PIXELS = click.IntRange(1, 16_384)
"""The sides of a picture."""

recipe_option = click.option(
    "-r",
    "--recipe",
    "recipes",
    multiple=True,
    shell_complete=complete_recipe,
    help="Recipe of the target, or a .toml file of your own; repeatable.",
)

width_option = click.option(
    "--width", type=PIXELS, help="Width of the images; default: the model's own."
)

height_option = click.option(
    "--height", type=PIXELS, help="Height of the images; default: the model's own."
)

_Command = TypeVar("_Command", bound=Callable[..., Any])


def guidance_part_options(command: _Command) -> _Command:
    """Add the options that say in which part of the steps guidance acts."""
    part = NumberRange(0, 1)
    stop = click.option(
        "--guidance-stop",
        type=part,
        help="Guide this part of the steps, 0 to 1: the others cost half. Default: 1, all.",
    )
    start = click.option(
        "--guidance-start", type=part, help="Begin to guide after this part of the steps."
    )
    return start(stop(command))


cache_interval_option = click.option(
    "--cache-interval",
    type=click.IntRange(1, 10_000),
    help="Compute all layers of the UNet in one of so many steps, the last one in the others.",
)


def reading_options(command: _Command) -> _Command:
    """Add the options that say how a model is read, which `take_reading` takes."""
    for names, metavar, text in reversed(_READING):
        command = click.option(*names, metavar=metavar, help=text)(command)
    return click.option(
        "--controlnet",
        "controlnets",
        multiple=True,
        metavar="CONTROLNET",
        help="A ControlNet or T2I-Adapter that steers it: its folder or hub id; repeatable.",
    )(command)


_READING = (
    (("--vae",), "PATH", "Another autoencoder: its file, or its folder."),
    (
        ("--config",),
        "DIR",
        "For a model in one file: a diffusers folder whose configurations, and whatever the file "
        "lacks, are taken.",
    ),
    (
        ("--prediction",),
        "TYPE",
        "What the UNet predicts, where its file leaves that open: epsilon or v_prediction.",
    ),
    (
        ("--as", "pipeline"),
        "CLASS",
        "Draw as this diffusers pipeline does, whatever the model calls its own.",
    ),
)
READING = tuple(field.name for field in fields(Reading))
"""The parameters of those options."""


def take_reading(options: dict[str, Any]) -> Reading:
    """Take what `reading_options` added out of a command's options."""
    return Reading(**{name: options.pop(name) for name in READING})


revision_option = click.option("--revision", help="Branch, tag or commit of a model of the hub.")

variant_option = click.option(
    "--variant", help="Weights to take where a component has them: fp16, non_ema."
)

offline_option = click.option("--offline", is_flag=True, help="Ask the hub's cache, never the hub.")


def adapter_options(command: _Command) -> _Command:
    """Add the options that say what is added to a model."""
    lora = click.option(
        "--lora",
        "loras",
        multiple=True,
        metavar="FILE[:SCALE]",
        help="Add a LoRA, LoCon, LoHa, LoKr or DoRA to the weights: FILE:0.8, or ORG/NAME:FILE of "
        "the hub; repeatable.",
    )
    embedding = click.option(
        "--embedding",
        "embeddings",
        multiple=True,
        metavar="FILE[:WORD]",
        help="Add a textual inversion, by a word for prompts: 'FILE:<toy>'; repeatable.",
    )
    picture = click.option(
        "--ip-adapter",
        metavar="FILE[:SCALE]",
        help="An IP-Adapter (.safetensors), for prompts with a picture: FILE:0.6.",
    )
    encoder = click.option(
        "--image-encoder",
        metavar="FOLDER",
        help="What it looks at pictures with; default: image_encoder/ beside it.",
    )
    return lora(embedding(picture(encoder(command))))


ADAPTERS = ("loras", "embeddings", "ip_adapter", "image_encoder")
"""The parameters of those options."""


arithmetic_option = click.option(
    "--arithmetic",
    type=click.Choice(get_args(ArithmeticWish)),
    help="In which type the runtime computes what the package gives in float32, where the "
    "processor has it; auto: the fastest whose golden case passes. Default: the recipe's.",
)

runtime_profile_option = click.option(
    "--profile",
    shell_complete=complete_profile,
    help="Take runtime, providers, threads and a limit of memory from this profile. Default: on a "
    "device, the one that fits it.",
)

arithmetic_of_both_option = click.option(
    "--arithmetic",
    type=click.Choice(get_args(Arithmetic)),
    help="In which type both are computed, where the processor has it. Default: the recipes'.",
)

lora_input_option = click.option(
    "--lora",
    "loras",
    multiple=True,
    metavar="FILE[:SCALE]",
    help="Draw with a LoRA, LoCon or LoHa; of packages that were built with --lora-as-input; "
    "repeatable.",
)


def no_lora_as_input(why: str, hint: str) -> Callable[[_Command], _Command]:
    """Return what adds `package`'s `--lora-as-input`, hidden, to a command that refuses it."""

    def refuse(_context: click.Context, _parameter: click.Parameter, typed: bool) -> None:
        if typed:
            raise ConfigError(f"--lora-as-input: {why}.", hint=hint)

    return click.option(
        "--lora-as-input", is_flag=True, hidden=True, expose_value=False, callback=refuse
    )


no_history_option = click.option(
    "--no-history",
    is_flag=True,
    help="Keep what is found out of `edgegen history`; so does EDGEGEN_HISTORY=0.",
)
