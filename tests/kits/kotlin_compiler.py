"""A Kotlin compiler for the kits' tests: that of npm's `kotlin-compiler`, on a Java runtime.

`$EDGEGEN_KOTLIN_LIB` names the `lib` folder of a Kotlin compiler (of a release of Kotlin, or of
`npm install --ignore-scripts kotlin-compiler`); without it, npm installs the pinned version into
`.venv-kits` under the repository root, which git ignores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgegen.core.environment import NETWORK
from edgegen.core.process import run

VARIABLE = "EDGEGEN_KOTLIN_LIB"
VERSION = "2.4.20"
FOLDER = Path(__file__).parents[2] / ".venv-kits"
_INSTALL_S = 900.0
_NPM = ("NODE_EXTRA_CA_CERTS", "npm_config_*", "NPM_CONFIG_*")
_COMPILE_S = 900.0


def kotlin_lib() -> Path:
    """Return the folder of the compiler's jars, and install it where it is missing.

    Raises MissingDependencyError without npm, ProcessError where npm fails.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).absolute()
    lib = FOLDER / "node_modules" / "kotlin-compiler" / "lib"
    if not (lib / "kotlin-compiler.jar").is_file():
        FOLDER.mkdir(exist_ok=True)
        package = f"kotlin-compiler@{VERSION}"
        arguments = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        install = [*arguments, "--prefix", str(FOLDER), package]
        run(install, timeout_s=_INSTALL_S, besides={**NETWORK, "npm": _NPM})
    return lib


def compile_kotlin(sources: Sequence[Path], jar: Path) -> None:
    """Compile sources into a jar; a warning is an error. Raises ProcessError with the messages."""
    lib = kotlin_lib()
    run(
        [
            *("java", "-cp", os.pathsep.join([str(lib / "kotlin-compiler.jar"), f"{lib}/*"])),
            *("org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-stdlib", "-no-reflect", "-Werror"),
            *("-cp", libraries(lib), "-d", str(jar)),
            *(str(source) for source in sources),
        ],
        timeout_s=_COMPILE_S,
    )


def libraries(lib: Path) -> str:
    """Return the class path of what the kit uses besides Android and LiteRT."""
    names = ("kotlin-stdlib.jar", "kotlinx-coroutines-core-jvm.jar")
    return os.pathsep.join(str(lib / name) for name in names)
