"""What all commands share: no option swallows another, and `--help` has groups, examples and codes.

@command(
    examples=("edgegen verify out/onnx-fp16-storage",),
    groups={"What is compared": ("full", "model")},
    ends_with=("IntegrityError", "ParityError"),
)
@click.argument("package")
…
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import click

from edgegen.cli.console import Console
from edgegen.core import errors

EXIT_DONE = "done"
_ALWAYS = ("ConfigError",)
_REST = "Other options"


def widen(context: click.Context) -> None:
    """Let the tables of this command line keep all their columns."""
    console = context.find_object(Console)
    if console is not None:
        console.wide = True


def _widen_if(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        widen(context)


VERBOSE = click.Option(
    ["--verbose", "-v"],
    is_flag=True,
    expose_value=False,
    callback=_widen_if,
    help="Show all columns of tables, however wide.",
)
"""The option of every command that has no `--verbose` of its own."""


class Command(click.Command):
    """A command whose help is grouped and ends with examples and exit codes.

    `groups` names options by their parameters, in the order of the help; options in no group follow
    as "Other options". `values` returns what may follow an option or a word, a line a paragraph.
    `ends_with` are the names of the classes of `core/errors.py` that the command can end with,
    besides a wrong command line.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        groups: Mapping[str, Sequence[str]] | None = None,
        values: Mapping[str, Callable[[], str]] | None = None,
        ends_with: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.values = dict(values or {})
        self.examples = tuple(examples)
        self.groups = dict(groups or {})
        self.ends_with = tuple(ends_with)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters; `--verbose` is one of every command."""
        params = super().get_params(ctx)
        if not any("--verbose" in param.opts for param in params):
            params.insert(len(self.params), VERBOSE)
        return params

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; its tables keep all columns where `--verbose` was given."""
        if ctx.params.get("verbose"):
            widen(ctx)
        return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse a command line, after a look whether an option's value has been forgotten."""
        refuse_swallowed_options(self, ctx, args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their groups."""
        records = {
            param.name: record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            and (record := param.get_help_record(ctx)) is not None
        }
        for title, names in self.groups.items():
            rows = [records.pop(name) for name in names if name in records]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        with formatter.section(_REST if self.groups else "Options"):
            formatter.write_dl(list(records.values()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the values of options, the examples and the exit codes."""
        if self.values:
            with formatter.section("Values"):
                for name, known in self.values.items():
                    _write_values(formatter, name, known())
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in self.exit_codes()])

    def exit_codes(self) -> list[tuple[int, str]]:
        """Return the codes that the command ends with, and what each means."""
        kinds = [getattr(errors, name) for name in (*_ALWAYS, *self.ends_with)]
        known = {kind.exit_code: (kind.__doc__ or "").partition("\n")[0] for kind in kinds}
        return [
            (0, EXIT_DONE),
            *sorted(known.items()),
            (errors.INTERRUPTED_EXIT_CODE, "interrupted"),
        ]


def _write_values(formatter: click.HelpFormatter, name: str, values: str) -> None:
    """Write a name and its values; they are broken between words alone, since they are typed."""
    indent = " " * (formatter.current_indent + 12)
    room = formatter.width - len(indent)
    lines = [
        line
        for paragraph in values.splitlines()
        for line in textwrap.wrap(
            paragraph, room, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
        )
    ]
    formatter.write(f"{' ' * formatter.current_indent + name:<{len(indent)}}{lines[0]}\n")
    for line in lines[1:]:
        formatter.write(f"{indent}{line}\n")


def command(
    *,
    examples: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None = None,
    values: Mapping[str, Callable[[], str]] | None = None,
    ends_with: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], Command]:
    """Return the decorator of a command: `click.command` with what `Command` adds."""
    return click.command(
        cls=Command, examples=examples, groups=groups, values=values, ends_with=ends_with
    )


def refuse_swallowed_options(
    of: click.Command, context: click.Context, arguments: Sequence[str]
) -> None:
    """Refuse a command line in which an option stands where the value of another belongs.

    click would take `--steps` as the prompt in `--prompt --steps 4`. Written with `=`, a value may
    begin with a dash: `--prompt=--steps`.

    Raises:
        click.BadOptionUsage: it names the option without a value.
    """
    options = {
        name: param
        for param in of.get_params(context)
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    for word, following in pairwise(arguments):
        if word == "--":
            return
        option = options.get(word)
        if option is None or option.is_flag or option.count:
            continue
        if following in options or (following.startswith("--") and following[2:3].isalpha()):
            raise click.BadOptionUsage(
                word,
                f"Option '{word}' needs a value, and '{following}' is an option. A value that "
                f"begins with a dash is written {word}={following}",
                ctx=context,
            )
