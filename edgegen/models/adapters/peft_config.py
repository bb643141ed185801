"""How strongly PEFT adds an adapter: it lies beside the tensors, not among them.

`PeftModel.save_pretrained` writes `adapter_config.json`; diffusers puts the same settings into the
header of its file, as `lora_adapter_metadata`, each with its component before it (`unet.r`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgegen.core.codec import load_python_json_object
from edgegen.core.errors import SourceError

CONFIG_NAME = "adapter_config.json"
METADATA_KEY = "lora_adapter_metadata"
_FORMS = ("LORA", "LOHA", "LOKR")
_PATTERN = re.compile(r"\^?(?P<name>[\w.-]+?)(?:\.lora_[AB]\.weight)?\$?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftConfig:
    """What divides and multiplies an adapter: alpha, by module where they differ.

    `rank` is that of modules whose tensors don't show it: a LoKr of whole factors.
    """

    alpha: float
    rank: float
    patterns: Mapping[str, float] = field(default_factory=dict)
    by_root: bool = False

    def factor(self, module: str, rank: int | None) -> float:
        """Return what a module is multiplied with: alpha / rank, or alpha / √rank."""
        alpha = next(
            (
                value
                for name, value in self.patterns.items()
                if module == name or module.endswith(f".{name}")
            ),
            self.alpha,
        )
        divisor = self.rank if rank is None else rank
        return alpha / (math.sqrt(divisor) if self.by_root else divisor)


def read_config(path: Path) -> PeftConfig | None:
    """Read the `adapter_config.json` beside an adapter; None where there is none.

    Raises SourceError for one that edgegen doesn't know.
    """
    if not path.is_file():
        return None
    return _config(str(path), load_python_json_object(path))


def metadata_configs(file: str, metadata: Mapping[str, str]) -> Mapping[str, PeftConfig]:
    """Return what a file's header says of each component. Raises SourceError."""
    text = metadata.get(METADATA_KEY)
    if text is None:
        return {}
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken(file, f"its {METADATA_KEY} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise _broken(file, f"its {METADATA_KEY} is no table")
    names = {key.partition(".")[0] for key in settings if "." in key}
    return {
        name: _config(
            file,
            {
                key.removeprefix(f"{name}."): value
                for key, value in settings.items()
                if key.startswith(f"{name}.")
            },
        )
        for name in sorted(names)
    }


def _config(file: str, data: Mapping[str, Any]) -> PeftConfig:
    form = data.get("peft_type", "LORA")
    if form not in _FORMS:
        raise SourceError(
            f"{file}: the adapter is PEFT's {form!s:.40}, which edgegen does not add.",
            hint="LoRA, LoHa and LoKr are added: call merge_and_unload() in PEFT, and package "
            "the result.",
        )
    for name in ("fan_in_fan_out", "modules_to_save", "trainable_token_indices"):
        if data.get(name):
            raise SourceError(
                f"{file}: '{name}' is set, which edgegen does not add.",
                hint="Call merge_and_unload() in PEFT, and package the result.",
            )
    rank = _number(file, data, "r", 8)
    if rank < 1:
        raise _broken(file, f"'r' is {rank:g}")
    alpha = _number(file, data, "lora_alpha" if form == "LORA" else "alpha", rank)
    given = data.get("alpha_pattern") or {}
    if not isinstance(given, dict):
        raise _broken(file, "'alpha_pattern' is no table")
    patterns = {}
    for pattern in given:
        match = _PATTERN.fullmatch(str(pattern))
        if match is None:
            raise _broken(file, f"'alpha_pattern' has {pattern!r:.80}, which is no module's name")
        patterns[match["name"]] = _number(file, given, pattern, alpha)
    return PeftConfig(
        alpha=alpha, rank=rank, patterns=patterns, by_root=bool(data.get("use_rslora"))
    )


def _number(file: str, data: Mapping[str, Any], name: str, default: float) -> float:
    value = data.get(name)
    if value is None:
        return default
    if type(value) not in (int, float) or not abs(value) <= 1e6:
        raise _broken(file, f"'{name}' is {value!r:.80}")
    return float(value)


def _broken(file: str, why: str) -> SourceError:
    return SourceError(f"{file}: {why}.", hint="Download or save the adapter again.")
