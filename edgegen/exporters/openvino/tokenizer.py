"""Writes a package's tokenizers as OpenVINO graphs, which `openvino_genai` runs.

The runner has a tokenizer of its own and does not read them. They are made from `vocab.json` and
`merges.txt` by openvino_tokenizers, with what CLIP's text encoders want built in: padded and cut
to the length that the text encoders take.

A tokenizer with added tokens (textual inversions) gets no graph: openvino_tokenizers would put the
tokens of `</w>` after each, and would leave out the tokens of a concept's other vectors.
openvino_genai then refuses the package, instead of drawing something else.

Where a prompt spells a special token out (`<|endoftext|>`, or the `!` that SD 2 pads with), they
take it for text, and transformers for the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from edgegen.core.files import translate_disk_errors
from edgegen.tokenizers import tokenizers_in
from edgegen.tokenizers.clip import CLIP

GRAPH_NAME = "openvino_tokenizer.xml"
TOOLKITS = ("openvino", "openvino-tokenizers", "tokenizers", "transformers")


def wanted(package: Path) -> bool:
    """Return whether a package has tokenizers, all of which a graph can stand for."""
    return bool(_folders(package))


def write(package: Path, text_length: int) -> Mapping[str, str]:
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
            max_length=text_length,
        )
        with translate_disk_errors(folder):
            openvino.save_model(graph, folder / GRAPH_NAME, compress_to_fp16=False)
    return {name: version(name) for name in TOOLKITS}


def _folders(package: Path) -> list[Path]:
    found = list(tokenizers_in(package))
    if any(tokenizer is not CLIP or tokenizer.added_tokens(folder) for folder, tokenizer in found):
        return []
    return [folder for folder, _ in found]
