"""Text that the user types, as an option's value: it has to be one."""

from __future__ import annotations

import click


class _Text(click.ParamType[str]):
    """A text; what a terminal of another encoding sends is refused, for no model can read it."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or fail where some of its bytes are not UTF-8."""
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"{value!r} is not text in UTF-8.", param, ctx)
        return value


TEXT = _Text()
