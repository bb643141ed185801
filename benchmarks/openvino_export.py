"""`optimum-cli export openvino`, run by path, by the python of the OpenVINO peer.

The command itself, with its arguments and its defaults: nothing is changed.
"""

from __future__ import annotations

import sys

from optimum.commands.optimum_cli import main

if __name__ == "__main__":
    sys.argv = ["optimum-cli", "export", "openvino", *sys.argv[1:]]
    main()
