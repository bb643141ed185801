"""Files that are no checkpoint edgegen can read, told by a key of theirs."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from edgegen.core.errors import SourceError


@dataclass(frozen=True, slots=True)
class Refused:
    """A kind of file: what it is called, a pattern of one of its keys, and what to do instead."""

    what: str
    pattern: re.Pattern[str]
    hint: str


_OTHER_NETWORK = (
    "edgegen has no family for it yet. The page 'What is supported' of its documentation names "
    "those that it has."
)


def _network(what: str, pattern: str) -> Refused:
    return Refused(
        what, re.compile(rf"(?:model\.diffusion_model\.|net\.)?{pattern}"), _OTHER_NETWORK
    )


REFUSED = (
    Refused(
        "a LoRA",
        re.compile(r".*\.(?:lora_(?:down|up|mid|A|B|a|b)\b.*|lora\.(?:down|up)\..*|alpha)"),
        "A LoRA changes a model: package the model that it was made for, with the LoRA.",
    ),
    Refused(
        "a LoHa or a LoKr",
        re.compile(r".*\.(?:hada_w\d_\w|lokr_w\d(?:_\w)?)"),
        "It changes a model: package the model that it was made for, with it.",
    ),
    Refused(
        "a textual inversion",
        re.compile(r"emb_params|clip_[lg]|<.+>"),
        "It adds words to a model: package that model.",
    ),
    Refused(
        "a ControlNet",
        re.compile(r"control_model\..*|controlnet_.*|input_hint_block\..*"),
        "It steers another model: package that, with --controlnet FILE.",
    ),
    _network("FLUX", r"double_blocks\.\d+\.img_attn\..*"),
    _network("Stable Diffusion 3", r"joint_blocks\.\d+\..*"),
    _network("Stable Cascade", r"clip_txt_mapper\..*|down_blocks\.\d+\.\d+\.channelwise\..*"),
    _network("AuraFlow", r"double_layers\.\d+\..*"),
    _network("Lumina 2", r"cap_embedder\.\d+\..*"),
    _network("Hunyuan", r"(?:txt_in\.individual_token_refiner|mlp_t5|extra_embedder)\..*"),
    _network("Mochi", r"blocks\.\d+\.attn\.qkv_x\..*"),
    _network("Sana", r"blocks\.\d+\.mlp\.inverted_conv\..*"),
    _network("Wan", r"(?:head\.modulation|patch_embedding\..*)"),
    _network("Cosmos", r"x_embedder\.proj\.1\..*"),
    _network("LTX-Video", r"patchify_proj\..*"),
    _network("HiDream", r"(?:double|single)_stream_blocks\..*"),
    _network("Stable Video Diffusion", r"input_blocks\.\d+\.\d\.time_(?:stack|mixer)\..*"),
    _network("AnimateDiff", r".*motion_modules\..*"),
    _network("Playground 2.5 or CosXL, which take EDM's noise levels", r"edm_mean|edm_vpred\..*"),
    _network("a transformer that edgegen does not know", r"layers\.\d+\.adaLN_modulation\..*"),
    Refused(
        "an upscaler of pictures (ESRGAN and its kin)",
        re.compile(r"(?:model\.\d+\.|body\.\d+\.rdb|conv_first\.|params_ema).*"),
        "It draws nothing from a text.",
    ),
    Refused(
        "float8 weights with scales",
        re.compile(r".*\.(?:scale_weight|weight_scale|weight_scale_inv|scale_input)|scaled_fp8"),
        "edgegen does not apply them: take the fp16, bf16 or fp32 weights of this model.",
    ),
)


def refuse_others(keys: Collection[str], where: str) -> None:
    """Raise SourceError for a file of a kind that is known, and can't be packaged."""
    for refused in REFUSED:
        key = next((key for key in keys if refused.pattern.fullmatch(key)), None)
        if key is not None:
            raise SourceError(f"{where} is {refused.what}: it has '{key:.120}'.", hint=refused.hint)
