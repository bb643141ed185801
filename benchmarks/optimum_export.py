"""`optimum-cli export onnx` without its validation; run by path, by the peers' python.

The command has no option for it: it always calls `main_export`, whose `do_validation` is on by
default. Here it is off, and all else is the command itself, its arguments included.
"""

from __future__ import annotations

import functools
import sys

import optimum.exporters.onnx as onnx_exporter
from optimum.commands.optimum_cli import main

if __name__ == "__main__":
    onnx_exporter.main_export = functools.partial(onnx_exporter.main_export, do_validation=False)
    sys.argv = ["optimum-cli", "export", "onnx", *sys.argv[1:]]
    main()
