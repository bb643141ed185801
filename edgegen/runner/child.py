"""The runner's process in edgegen's own Python, with the runtimes that only this machine has."""

from __future__ import annotations

import os
import sys

from edgegen_runner.__main__ import end, main

from edgegen.runner.program import AHEAD
from edgegen.runner.runtimes import ON_THIS_MACHINE


def _options() -> list[str]:
    """Return the runner's own options: of a package, what it will be drawn with."""
    if sys.argv[1:2] != [AHEAD]:
        return sys.argv[1:]
    import gc
    from pathlib import Path

    from edgegen.runner.guess import guess

    gc.disable()  # what is imported stays
    package, *wanted = sys.argv[2:]
    guessed = guess(Path(package), next(iter(wanted), None))
    return [] if guessed is None else ["--for", *guessed]


if __name__ == "__main__":
    # Read when torch is loaded: threads that wait by spinning take the processor from others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.argv[1:] = _options()
    end(main(ON_THIS_MACHINE))
