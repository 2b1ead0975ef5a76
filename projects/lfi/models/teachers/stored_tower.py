"""Writing and loading of a text tower without its image tower."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lfi.utils.modules import load_strictly
from lfi.utils.repositories import TOWER_FILES, TOWER_WEIGHTS

from .generative.folder import GENERATIVE
from .loading.folder_config import FILE, read_folder_config
from .loading.foreign_code import no_foreign_code
from .loading.tokenizers import load_tokenizer
from .loading.weights import BLIP, load_vlm
from .model_config import open_clip_config
from .vlm import Tokenizer

SMALLEST_IMAGE_TOWER = dict(image_size=16, patch_size=16, width=64, head_width=64, layers=1)
"""`vision_cfg` in the config of a stored text tower: open_clip requires one."""
NOT_TEXT = ('visual.', 'logit_scale', 'logit_bias')
"""Prefixes of weights that embed no texts."""
_LAYER = re.compile(r'.*resblocks\.(\d+)\..*')


def write_text_tower(
    folder: Path,
    model: Any,
    pretrained: str | None,
    weights_file: str | Path | Mapping[str, Any] | None = None,
) -> None:
    """Write the text tower of an open_clip model, with its tokenizer, to a folder.

    Args:
        folder: output folder, which exists.
        model: model of a teacher, as `load_vlm` takes it.
        pretrained: tag, or file of weights; see `load_vlm`.
        weights_file: see `load_vlm`. Defaults to None.

    Raises:
        ValueError: if the model is not of open_clip, or has a text tower of transformers or CoCa.
        FileNotFoundError, RuntimeError, ImportError: if `load_vlm` cannot load the model.
    """
    if not isinstance(model, str) or model.startswith((BLIP, GENERATIVE)):
        raise ValueError(f'model={model!r} is not of open_clip: its text tower cannot be stored on its own')
    config = open_clip_config(model)
    _require_own_tower(config, model)
    vlm: Any
    vlm, tokenizer = load_vlm(model, pretrained, False, weights_file)
    state = {name: value for name, value in vlm.state_dict().items() if not name.startswith(NOT_TEXT)}
    pixels = {key: list(vlm.visual.preprocess_cfg[key]) for key in ('mean', 'std')}
    stored = dict(model_cfg={**config, 'vision_cfg': SMALLEST_IMAGE_TOWER}, preprocess_cfg=pixels)
    (folder / FILE).write_text(json.dumps(stored, indent=1))
    # A file of safetensors holds no tensors with shared memory.
    save_file({name: value.clone().contiguous() for name, value in state.items()}, folder / TOWER_WEIGHTS)
    # open_clip's own vocabulary needs no files.
    if isinstance(tokenizer, open_clip.tokenizer.HFTokenizer):
        tokenizer.tokenizer.save_pretrained(folder)
    surplus = sorted({path.name for path in folder.iterdir()} - {*TOWER_FILES})
    if surplus:
        raise ValueError(f'the tokenizer of {model} has the file {surplus[0]}, which cannot be stored')


def load_text_tower(folder: Path) -> tuple[Any, Tokenizer]:
    """Load a folder of `write_text_tower`: a model that embeds only texts, and its tokenizer.

    Raises:
        FileNotFoundError: if a file of the tokenizer is missing.
        ValueError: if a file is corrupted, or the sizes in the config are not those of the weights.
        ImportError: if the tokenizer needs `transformers`, and it is not installed.
    """
    config, weights = read_folder_config(folder / FILE)['model_cfg'], folder / TOWER_WEIGHTS
    _require_own_tower(config, str(folder))
    try:
        state = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise ValueError(f'{weights} is missing or corrupted: {error}') from error
    _check_sizes(folder / FILE, config, state)
    kind = open_clip.CustomTextCLIP if config.get('custom_text') else open_clip.CLIP
    with no_foreign_code():
        tokenizer = load_tokenizer(str(folder), folder)
        try:
            # open_clip has no models without an image tower.
            vlm: Any = kind(
                config['embed_dim'],
                SMALLEST_IMAGE_TOWER,
                config['text_cfg'],
                quick_gelu=config.get('quick_gelu', False),
            )
            vlm.visual = nn.Identity()
            del vlm.logit_scale
            load_strictly(vlm, state)
        # A stranger's config may raise any error.
        except Exception as error:
            raise ValueError(f'{folder} is corrupted: {error}') from error
    return vlm.eval().requires_grad_(False), tokenizer


def _require_own_tower(config: Mapping[str, Any], model: str) -> None:
    tower = config['text_cfg'].get('hf_model_name')
    if tower or 'multimodal_cfg' in config:
        kind = f'is {tower!r} of transformers' if tower else 'belongs to a CoCa'
        raise ValueError(f'the text tower of {model} {kind}, and cannot be stored on its own')


def _check_sizes(path: Path, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Check that a text tower needs no more memory than its weights: the config may be a stranger's."""
    layers = {int(match[1]) for name in state if (match := _LAYER.fullmatch(name))}
    largest = sum(value.numel() for value in state.values())
    try:
        text = open_clip.CLIPTextCfg(**config['text_cfg'])
        sizes = dict(
            vocab_size=text.vocab_size * text.width,
            context_length=text.context_length * text.width,
            mlp_ratio=text.mlp_ratio * text.width**2,
            embed_dim=config['embed_dim'] * text.width,
        )
        wrong = next((name for name, size in sizes.items() if not 0 < size <= largest), None)
    except TypeError as error:
        raise ValueError(f'{path}: a size in text_cfg is not a number: {error}') from error
    if wrong is not None:
        raise ValueError(f'{path}: {wrong} asks for more numbers than {TOWER_WEIGHTS} has')
    if text.layers != len(layers):
        raise ValueError(f'{path}: text_cfg.layers={text.layers!r}, but the weights have {len(layers)}')
