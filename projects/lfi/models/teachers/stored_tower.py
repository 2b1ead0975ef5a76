"""Writing and loading of a text tower without its image tower."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
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
LARGEST = dict(context_length=4096, vocab_size=2**20, width=2**13, layers=128, mlp_ratio=16)
"""Largest sizes of a text tower: several times those of open_clip's models."""


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


def has_text_tower(folder: Path) -> bool:
    """Whether a folder holds a text tower. A folder that a saving has emptied holds none."""
    return (folder / FILE).is_file()


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
    with no_foreign_code():
        tokenizer = load_tokenizer(str(folder), folder)
        try:
            _check_sizes(config, state)
            vlm = _text_model(config)
            load_strictly(vlm, state)
        # A stranger's config may raise any error.
        except Exception as error:
            raise ValueError(f'{folder} is corrupted: {error}') from error
    return vlm.eval().requires_grad_(False), tokenizer


def _text_model(config: Mapping[str, Any]) -> Any:
    """Build a model of open_clip without its image tower."""
    kind = open_clip.CustomTextCLIP if config.get('custom_text') else open_clip.CLIP
    # open_clip has no models without an image tower.
    vlm: Any = kind(
        config['embed_dim'],
        SMALLEST_IMAGE_TOWER,
        config['text_cfg'],
        quick_gelu=config.get('quick_gelu', False),
    )
    vlm.visual = nn.Identity()
    del vlm.logit_scale
    return vlm


def _require_own_tower(config: Mapping[str, Any], model: str) -> None:
    tower = config['text_cfg'].get('hf_model_name')
    if tower or 'multimodal_cfg' in config:
        kind = f'is {tower!r} of transformers' if tower else 'belongs to a CoCa'
        raise ValueError(f'the text tower of {model} {kind}, and cannot be stored on its own')


def _check_sizes(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Check, without memory, that a text tower has the sizes of its weights: the config may be a stranger's.

    Raises:
        ValueError: if a size is beyond those of known text towers, or differs from that of the weights.
        TypeError: if a size is not a number.
    """
    text = open_clip.CLIPTextCfg(**config['text_cfg'])
    for name, largest in LARGEST.items():
        if not 0 < getattr(text, name) <= largest:
            raise ValueError(
                f'text_cfg.{name}={getattr(text, name)!r} must be above 0, and at most {largest:,}'
            )
    with torch.device('meta'):
        shapes = {name: value.shape for name, value in _text_model(config).state_dict().items()}
    differ = sorted(
        name
        for name in shapes.keys() | state.keys()
        if name not in state or shapes.get(name) != state[name].shape
    )
    if differ:
        raise ValueError(f'{FILE} and {TOWER_WEIGHTS} differ in {differ[0]}')
