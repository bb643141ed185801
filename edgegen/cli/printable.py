"""Foreign text on its way to a terminal: nothing in it moves the cursor or reorders a line.

Names of files, keys of a model's configuration, a licence, what a device says: none of it is ours.
Escape codes in it could hide a line, change the title, or type into the terminal
(https://cwe.mitre.org/data/definitions/150.html); bidirectional controls could show another name
than the one that is typed (https://trojansource.codes). All are written out: `\\x1b`, `\\u202e`.
"""

from __future__ import annotations

import re

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_REORDERING = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_LONE = r"\ud800-\udfff"
_FOREIGN = re.compile(f"[{_CONTROLS}{_REORDERING}{_LONE}]")
_FOREIGN_IN_A_LINE = re.compile(f"[\t\n{_CONTROLS}{_REORDERING}{_LONE}]")
_FIRST_ESCAPED_BYTE = 0xDC80
_LAST_ESCAPED_BYTE = 0xDCFF


def printable(text: str) -> str:
    r"""Return `text` with every control but a tab and the end of a line written out.

    >>> printable("red \x1b[31m")
    'red \\x1b[31m'
    """
    return _FOREIGN.sub(_written_out, text)


def printable_line(text: str) -> str:
    r"""Return `text` with every control written out, ends of lines too: for a cell of a table.

    >>> printable_line("two\nlines")
    'two\\nlines'
    """
    return _FOREIGN_IN_A_LINE.sub(_written_out, text)


def printable_json(text: str) -> str:
    r"""Return a JSON text in which the same characters are escaped as JSON escapes them.

    The value that a reader of the JSON gets is unchanged.
    """
    return _FOREIGN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if _FIRST_ESCAPED_BYTE <= code <= _LAST_ESCAPED_BYTE:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape", "surrogatepass").decode()
