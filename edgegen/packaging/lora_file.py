"""The LoRAs that a package is drawn with, in a file that its runner reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgegen.core.errors import ConfigError
from edgegen.core.files import sha256_of
from edgegen.core.package import PackageManifest
from edgegen.core.scratch import ScratchFolder
from edgegen.core.targets import load_target
from edgegen.models.adapters.as_inputs import write_as_inputs
from edgegen.models.adapters.lora_choice import parse_lora


def takes_loras(manifest: PackageManifest) -> bool:
    """Return whether a package's layers take LoRAs when it draws."""
    return any(it.lora_inputs for it in manifest.components)


@contextmanager
def lora_for(manifest: PackageManifest, loras: Sequence[str]) -> Iterator[Path | None]:
    """Yield a file of what `--lora` names, made for a package; None without any.

    It is removed afterwards. Raises ConfigError where the package takes none, and what
    `write_as_inputs` raises.
    """
    if not loras:
        yield None
        return
    if not takes_loras(manifest):
        raise _takes_none(manifest)
    choices = [parse_lora(text) for text in loras]
    with ScratchFolder("lora") as folder:
        path = folder / "lora.safetensors"
        write_as_inputs(choices, manifest, path)
        yield path


def named(loras: Sequence[str]) -> tuple[str, ...]:
    """Return what a result calls LoRAs: `ink:0.8 (1f0c…)`, by name, scale and hash."""
    choices = [parse_lora(text) for text in loras]
    return tuple(f"{it.file.stem}:{it.scale:g} ({sha256_of(it.file)[:12]})" for it in choices)


def _takes_none(manifest: PackageManifest) -> ConfigError:
    why = load_target(manifest.target).no_lora_inputs
    if why:
        return ConfigError(
            f"A package of the target '{manifest.target}' takes no LoRA at run time: {why}.",
            hint="Add it to the weights: edgegen package MODEL --lora FILE.",
        )
    return ConfigError(
        "This package takes no LoRA at run time: its layers have no inputs for one.",
        hint="Build one that does: edgegen package MODEL -t onnx --lora-as-input. Or add the LoRA "
        "to the weights: edgegen package MODEL --lora FILE.",
    )
