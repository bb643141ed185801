"""Mutations of JSON that configs, indexes, headers and tokenizers have in common."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

NUMBERS = (0, -1, 1, 2, 7, 2**31, 2**63, 10**9, 10**30, -(10**30), 10**400, 0.0, 1e308, 1.5)
SPECIAL = (float("nan"), float("inf"), float("-inf"))
WORDS = ("", "silu", "group", "\x00", "../../x", "a" * 5000, "é\u2028", "None", "UNet2DModel")
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]

values: st.SearchStrategy[Any] = (
    st.sampled_from((*NUMBERS, *SPECIAL, *WORDS, None, True, False, {}, []))
    | st.sampled_from(([1] * 5000, [[2] * 50] * 50, {"a": 1}, {"Regex": "(a+)+$"}, DEEP))
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.sampled_from((*NUMBERS, *WORDS, None)), max_size=20)
).map(copy.deepcopy)  # or a list would be changed in the next case, too


def places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all that is in `data`, at most 40 of a list or an object."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in list(items)[:40]:
        found.append((*at, key))
        if isinstance(value, dict | list):
            found += places(value, (*at, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, data: Any) -> Any:
    """Return a copy of `data` with one to four places changed, removed, or added to."""
    changed = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 4))):
        all_places = places(changed)
        if not all_places:
            return draw(values)
        *path, last = draw(st.sampled_from(all_places))
        holder = changed
        for key in path:
            holder = holder[key]
        what = draw(st.sampled_from(("change", "change", "remove", "add")))
        if what == "remove":
            del holder[last]
        elif what == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = draw(values)
        else:
            holder[last] = draw(values)
    return changed
