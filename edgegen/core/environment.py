"""Which of the user's environment variables the processes that edgegen starts may see.

The environment of a shell holds secrets: tokens of the hub, of clouds, of a CI. A child gets what
is named here and nothing else, for the runner computes with a package that somebody else may have
made. Names end in `*` where a program has many of them. What is missing here for a driver of the
user's own goes into `EDGEGEN_PASS_ENV`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

FURTHER_NAMES = "EDGEGEN_PASS_ENV"
"""Further names, between blanks or commas."""

RUNNER_ENVIRONMENT: Mapping[str, str] = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONUTF8": "1"}
"""What a runner gets besides."""

EVERY_CHILD: Mapping[str, tuple[str, ...]] = {
    "where programs and folders are": (
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "TMPDIR",
        "XDG_*",
    ),
    "language and time zone": ("LANG", "LANGUAGE", "LC_*", "TZ", "TZDIR"),
    "which Python, and where its modules are": ("PYTHON*", "VIRTUAL_ENV", "CONDA_PREFIX"),
    "where libraries are": ("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_*", "ADSP_LIBRARY_PATH"),
    "threads of numerical libraries": (
        "OMP_*",
        "KMP_*",
        "GOMP_*",
        "MKL_*",
        "OPENBLAS_*",
        "BLIS_*",
        "NUMEXPR_*",
        "VECLIB_*",
    ),
    "how memory is allocated": ("MALLOC_*", "GLIBC_TUNABLES"),
    "settings of runtimes and toolkits": (
        "ORT_*",
        "OPENVINO_*",
        "OV_*",
        "TF_*",
        "TFLITE_*",
        "LITERT_*",
        "XNNPACK_*",
        "ONEDNN_*",
        "DNNL_*",
        "TORCH_*",
        "PYTORCH_*",
        "QNN_*",
    ),
    "accelerators and their drivers": (
        "CUDA_*",
        "NVIDIA_*",
        "HIP_*",
        "HSA_*",
        "ROCR_*",
        "ZE_*",
        "VK_*",
        "OCL_*",
        "MESA_*",
    ),
    "no telemetry": ("DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY"),
    "the hub's cache, without its token": ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"),
    "edgegen's own": ("EDGEGEN_*",),
}

NETWORK: Mapping[str, tuple[str, ...]] = {
    "proxies": tuple(
        name
        for scheme in ("http", "https", "ftp", "all", "no")
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    ),
    "certificates": ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    "pip's and apt's own, a company's index for example": ("PIP_*", "NETRC", "APT_CONFIG"),
}
"""What a program gets besides that downloads something: pip and apt."""

REMOTE: Mapping[str, tuple[str, ...]] = {
    "the agent with the user's keys, and Kerberos": ("SSH_*", "KRB5*"),
    "adb's server": ("ADB_*", "ANDROID_*"),
    "proxies, for a ProxyCommand": NETWORK["proxies"],
}
"""What ssh and adb get besides."""

Names = Mapping[str, tuple[str, ...]]


def child_environment(
    added: Mapping[str, str] | None = None, *, besides: Names | None = None
) -> dict[str, str]:
    """Return a child's environment: what is passed of this process's own, and what is `added`.

    `besides` are names that this child gets, and others don't: `NETWORK` or `REMOTE`.
    """
    own = re.split(r"[\s,]+", os.environ.get(FURTHER_NAMES, "").strip())
    names = [*_names(EVERY_CHILD), *_names(besides or {}), *filter(None, own)]
    whole = {name for name in names if not name.endswith("*")}
    starts = tuple(name[:-1] for name in names if name.endswith("*"))
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in whole or name.startswith(starts)
    }
    return {**passed, **(added or {})}


def _names(groups: Names) -> Iterable[str]:
    return (name for group in groups.values() for name in group)
