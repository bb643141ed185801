"""The runner's process with the reference executor in it.

Started as `python -m edgegen.mil.runner_child RUNNER`, where RUNNER is the packed runner; the rest
is the runner's own.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the runner to its end and return the exit code."""
    # Read when torch is loaded: threads that wait by spinning take the processor from others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.path.insert(0, sys.argv.pop(1))
    from edgegen_runner import backends
    from edgegen_runner.__main__ import main as run

    backends.BACKENDS["coreml_reference"] = "edgegen.mil.backend:ReferenceBackend"
    backends.INSTALL["coreml_reference"] = "'edgegen[coreml]'"
    backends.FOR_TARGET["coreml"] = ("coreml", "coreml_reference")
    return run()


if __name__ == "__main__":
    sys.exit(main())
