"""The runner's process in edgegen's own Python, with the runtimes that only this machine has."""

from __future__ import annotations

import os

from edgegen_runner.__main__ import end, main

from edgegen.runner.runtimes import ON_THIS_MACHINE

if __name__ == "__main__":
    # Read when torch is loaded: threads that wait by spinning take the processor from others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    end(main(ON_THIS_MACHINE))
