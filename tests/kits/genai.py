"""The environment of OpenVINO GenAI, apart from edgegen's own.

It is made on first use in `.venv-genai` under the repository root, which git ignores.
`$EDGEGEN_GENAI_PYTHON` names another interpreter that has openvino-genai.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgegen.core.process import run

VARIABLE = "EDGEGEN_GENAI_PYTHON"
INCLUDE_VARIABLE = "EDGEGEN_GENAI_INCLUDE"
VERSION = "2026.4.1.0"
FOLDER = Path(__file__).parents[2] / ".venv-genai"
_INSTALL_S = 1800.0


def genai_python() -> Path:
    """Return the interpreter, and install openvino-genai where it is missing.

    Raises ProcessError where pip fails.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).absolute()
    python = FOLDER / "bin" / "python"
    stamp = FOLDER / ".installed"
    if not stamp.is_file() or stamp.read_text(encoding="ascii") != VERSION:
        run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], timeout_s=600)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        run([*install, f"openvino-genai=={VERSION}"], timeout_s=_INSTALL_S)
        stamp.write_text(VERSION, encoding="ascii")
    return python


def site_packages(python: Path) -> Path:
    """Return where an interpreter's packages are."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run([str(python), "-c", code], timeout_s=60).text.strip())


def write_cmake_config(packages: Path, include: Path, folder: Path) -> None:
    """Write the OpenVINOGenAIConfig.cmake that the wheel lacks, for its library."""
    library = next((packages / "openvino_genai").glob("libopenvino_genai.so*"))
    (folder / "OpenVINOGenAIConfig.cmake").write_text(
        f"""find_package(OpenVINO REQUIRED PATHS "{packages}/openvino/cmake" NO_DEFAULT_PATH)
add_library(openvino::genai SHARED IMPORTED)
set_target_properties(openvino::genai PROPERTIES
    IMPORTED_LOCATION "{library}"
    INTERFACE_INCLUDE_DIRECTORIES "{include}"
    INTERFACE_LINK_LIBRARIES openvino::runtime)
""",
        encoding="utf-8",
    )


def library_environment(packages: Path) -> dict[str, str]:
    """Return what a program needs to find the wheels' libraries."""
    tokenizers = packages / "openvino_tokenizers" / "lib" / "libopenvino_tokenizers.so"
    return {
        "LD_LIBRARY_PATH": str(packages / "openvino" / "libs"),
        "OPENVINO_TOKENIZERS_PATH_GENAI": str(tokenizers),
    }
