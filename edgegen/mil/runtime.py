"""The reference executor as a runtime of Core ML's packages, which only this machine has.

It computes what the package says, slowly, where Core ML doesn't exist; nothing that it does is
timed.
"""

from __future__ import annotations

from edgegen_runner.runtimes import Runtime

ROUNDED, EXACT = "reference", "reference-float32"

REFERENCE = Runtime(
    name="coreml_reference",
    target="coreml",
    backend="edgegen.mil.backend:ReferenceBackend",
    module="torch",
    packages=(),
    install="'edgegen[coreml]'",
    providers=(ROUNDED, EXACT),
)
