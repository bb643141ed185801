"""Orders of axes: how a tensor lies in memory, apart from how torch counts its axes.

An *order* says for each stored axis which logical axis it is: a picture that torch calls (batch,
channels, height, width) is stored channels-last as the order (0, 2, 3, 1).
"""

from __future__ import annotations

from collections.abc import Sequence

Order = tuple[int, ...]
Sizes = tuple[int, ...]


def plain(rank: int) -> Order:
    """Return the order in which torch counts."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Return the order of TFLite's kernels: the second axis behind all others.

    >>> channels_last(4)
    (0, 2, 3, 1)
    """
    return (0, *range(2, rank), 1)


def stored(shape: Sequence[int], order: Order) -> Sizes:
    """Return the sizes of the stored axes.

    >>> stored((1, 320, 64, 48), (0, 2, 3, 1))
    (1, 64, 48, 320)
    """
    return tuple(shape[axis] for axis in order)


def logical(sizes: Sequence[int], order: Order) -> Sizes:
    """Undo `stored`.

    >>> logical((1, 64, 48, 320), (0, 2, 3, 1))
    (1, 320, 64, 48)
    """
    return tuple(sizes[order.index(axis)] for axis in range(len(order)))


def widened(order: Order, rank: int) -> Order:
    """Return the order with axes of size 1 in front, as broadcasting adds them.

    >>> widened((1, 0), 3)
    (0, 2, 1)
    """
    new = rank - len(order)
    return (*range(new), *(axis + new for axis in order))


def moves_nothing(shape: Sequence[int], old: Order, new: Order) -> bool:
    """Tell whether numbers lie in memory the same way in both orders: axes of size 1 do not count.

    >>> moves_nothing((1, 320, 1, 1), (0, 1, 2, 3), (0, 2, 3, 1))
    True
    """
    return [a for a in old if shape[a] != 1] == [a for a in new if shape[a] != 1]


def reshaped(old: Sequence[int], new: Sequence[int], order: Order) -> Order | None:
    """Return the order that a reshape leaves when no number moves; None where some have to.

    None moves if the axes that are merged or split together lie together. `old` and `new` are
    logical shapes.

    >>> reshaped((1, 320, 4096), (1, 320, 64, 64), (0, 2, 1))
    (0, 2, 3, 1)
    >>> reshaped((1, 4096, 8, 40), (1, 4096, 320), (0, 2, 1, 3)) is None
    True
    """
    groups = _groups(old, new)
    if groups is None:
        return None
    new_of = {before[0]: (before, after) for before, after in groups}
    left = [axis for axis in order if old[axis] != 1]
    result = list(range(_leading_ones(new)))
    while left:
        if left[0] not in new_of:
            return None
        before, after = new_of[left[0]]
        if tuple(left[: len(before)]) != before:
            return None
        del left[: len(before)]
        result.extend(after)
    return tuple(result)


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[Order, Order]] | None:
    """Pair the axes of two shapes that hold the same numbers; new axes of size 1 follow others."""
    groups = []
    rest = [axis for axis in range(len(old)) if old[axis] != 1]
    position = _leading_ones(new)
    while rest:
        before, after = [rest.pop(0)], [position]
        left, right = old[before[0]], new[position]
        position += 1
        while left != right:
            if left < right:
                if not rest:
                    return None
                before.append(rest.pop(0))
                left *= old[before[-1]]
            else:
                after.append(position)
                right *= new[position]
                position += 1
        while position < len(new) and new[position] == 1:
            after.append(position)
            position += 1
        groups.append((tuple(before), tuple(after)))
    return groups


def _leading_ones(shape: Sequence[int]) -> int:
    count = 0
    while count < len(shape) and shape[count] == 1:
        count += 1
    return count
