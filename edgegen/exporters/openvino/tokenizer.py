"""Writes a package's tokenizers as OpenVINO graphs, which `openvino_genai` runs.

The runner has a tokenizer of its own and does not read them. They are made from `vocab.json` and
`merges.txt` by openvino_tokenizers, with what CLIP's text encoders want built in: padded and cut
to the length that the tokenizer's configuration names.

Where a prompt spells a special token out (`<|endoftext|>`, or the `!` that SD 2 pads with), they
take it for text, and transformers for the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from edgegen.core.codec import load_json_object
from edgegen.core.files import translate_disk_errors
from edgegen.pipelines.tokenizer_files import FOLDERS, VOCABULARY_NAME

CONFIG_NAME = "tokenizer_config.json"
GRAPH_NAME = "openvino_tokenizer.xml"
CLIP_LENGTH = 77
LONGEST = 1 << 16
"""Configurations without a length say so by an enormous one."""
TOOLKITS = ("openvino", "openvino-tokenizers", "tokenizers", "transformers")


def wanted(package: Path) -> bool:
    """Tell whether a package has a tokenizer."""
    return bool(_folders(package))


def write(package: Path) -> Mapping[str, str]:
    """Write `openvino_tokenizer.xml` and `.bin` into the tokenizer folders of a package.

    Returns the versions of what wrote them. The same package gives the same bytes, as long as the
    process does nothing else: names of layers are counted in a process. Raises ImportError where a
    toolkit is missing.
    """
    import openvino
    import openvino_tokenizers
    from transformers import CLIPTokenizer

    for folder in _folders(package):
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        graph = openvino_tokenizers.convert_tokenizer(
            tokenizer,
            with_detokenizer=False,
            use_max_padding=True,
            truncation=True,
            max_length=_length(folder),
        )
        with translate_disk_errors(folder):
            openvino.save_model(graph, folder / GRAPH_NAME, compress_to_fp16=False)
    return {name: version(name) for name in TOOLKITS}


def _folders(package: Path) -> list[Path]:
    return [package / name for name in FOLDERS if (package / name / VOCABULARY_NAME).is_file()]


def _length(folder: Path) -> int:
    path = folder / CONFIG_NAME
    length = load_json_object(path).get("model_max_length") if path.is_file() else None
    return length if isinstance(length, int) and 0 < length < LONGEST else CLIP_LENGTH
