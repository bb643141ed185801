"""Changes of JSON values: what a broken or hostile file has where something else belongs."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 2**31, 2**63, -(2**63), 10**25, 10**400, 0.5, -0.5, 1e308),
    *(float("nan"), float("inf"), float("-inf")),
    *("", "x", "..", "/etc/passwd", "a\0b", "\ud800", "x" * 3000, "1", "é\u202e\x1b[31m"),
    *([], {}, [[]], [None], [1, 2], {"x": 1}, ["x"] * 50, [[[[[[]]]]]]),
)

Change = tuple[list[int], str, Any]


def changes() -> st.SearchStrategy[list[Change]]:
    """Draw changes: where (choices on the way down), which kind, and an odd value."""
    where = st.lists(st.integers(0, 40), max_size=6)
    kind = st.sampled_from(("replace", "replace", "replace", "remove", "add", "double"))
    return st.lists(st.tuples(where, kind, st.sampled_from(ODD_VALUES)), min_size=1, max_size=4)


def changed(value: Any, changes_: list[Change]) -> Any:
    """Return a copy of a JSON value with changes in it."""
    holder = [copy.deepcopy(value)]
    for where, kind, odd in changes_:
        _change(holder, where, kind, copy.deepcopy(odd))
    return holder[0] if holder else None


def _change(holder: Any, where: list[int], kind: str, odd: Any) -> None:
    place: Any = 0
    for choice in where:
        inner = holder[place] if holder else None
        if not isinstance(inner, dict | list) or not inner:
            break
        holder = inner
        places = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        place = places[choice % len(places)]
    if not holder:
        return
    if kind == "replace" or (kind == "double" and isinstance(holder, dict)):
        holder[place] = odd
    elif kind == "double":
        holder.append(copy.deepcopy(holder[place]))
    elif kind == "remove":
        del holder[place]
    elif isinstance(holder, dict):
        holder["x" if isinstance(odd, dict | list) else str(odd)] = odd
    else:
        holder.append(odd)
