"""Refuses options that a person typed and that the rest of the line leaves without effect."""

from __future__ import annotations

from collections.abc import Collection

import click
from click.core import ParameterSource


def refuse_typed(context: click.Context, names: Collection[str], why: str) -> None:
    """Raise UsageError where one of the parameters was typed; `why` ends the sentence about them.

    A value that is the default is not one that was typed.
    """
    typed = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if typed:
        raise click.UsageError(f"{', '.join(typed)}: {why}", ctx=context)
