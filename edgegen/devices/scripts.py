"""The programs that devices are given on the command line, before they have a runner."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Literal

from edgegen.core.shipped import shipped


@cache
def script(name: Literal["bootstrap.py", "find_python.sh", "push_bundle.sh"]) -> str:
    """Return a program of `device_runners/scripts`, without the comment that says how it is called.

    Command lines of devices are short.
    """
    text = (shipped("device_runners") / "scripts" / name).read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    return "".join(itertools.dropwhile(lambda line: line.startswith("#"), lines))
