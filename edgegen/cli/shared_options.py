"""Options that several commands have: each is said once."""

from __future__ import annotations

import click

from edgegen.cli.completion import complete_recipe

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

revision_option = click.option("--revision", help="Branch, tag or commit of a model of the hub.")

variant_option = click.option(
    "--variant", help="Weights to take where a component has them: fp16, non_ema."
)

offline_option = click.option("--offline", is_flag=True, help="Ask the hub's cache, never the hub.")

no_history_option = click.option(
    "--no-history",
    is_flag=True,
    help="Keep what is found out of `edgegen history`; so does EDGEGEN_HISTORY=0.",
)
