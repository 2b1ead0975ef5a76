"""Loading of generative VLMs of transformers, with the interface of open_clip's models."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..loading.foreign_code import no_foreign_code, only_files_of
from ..loading.weights_source import WeightsSource
from .folder import GENERATIVE, fetch_folder, generative_folder, has_weights, refuse_external_files
from .image_tokens import ImageTokens, MergedPatches, PlainGrid, TileGrid

KINDS: dict[str, type[ImageTokens]] = dict(
    llava=PlainGrid, idefics3=TileGrid, smolvlm=TileGrid, qwen2_vl=MergedPatches, qwen2_5_vl=MergedPatches
)
"""Classes of the image side, by transformers' `model_type`."""
COMPUTED_BUFFERS = ('inv_freq', 'position_ids')
"""Suffixes of weights that old versions of transformers stored, and new versions compute."""


class GenerativeVLM(nn.Module):
    """A generative VLM, with embeddings in the space of its input tokens instead of a joint space.

    An image's embedding is the mean of its tokens. A text's embedding is the mean of its tokens' input
    embeddings, which needs no prompt and no choice of a layer. The alternative, the decoder's last hidden
    state of the text alone, is trained to predict the next token. Cosines of images with texts are
    meaningless.

    Args:
        model: transformers' image-text-to-text model.
        processor: processor of the model.

    Attributes:
        visual: image side, with the complete model, since each layer of the decoder reads the image. Texts
            need only the token embeddings.

    Raises:
        ValueError: if `ImageTokens` cannot read the model.
    """

    visual: ImageTokens
    logit_scale: Tensor

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__()
        self.visual = KINDS[model.config.model_type](model, processor)
        self.embed: nn.Module = model.get_input_embeddings()
        self.processor = processor
        self.register_buffer('logit_scale', torch.zeros(()))

    def encode_image(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) as (B, D), of unit length."""
        return F.normalize(self.visual(images).float().mean(1), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Embed texts, token ids (n, length) padded by -1, as (n, D)."""
        mask = (ids >= 0).unsqueeze(-1)
        return (mask * self.embed(ids.clamp_min(0)).float()).sum(1) / mask.sum(1)


class GenerativeTokenizer:
    """Tokenizer of n texts to ids (n, length), padded by -1, without start and end tokens.

    A text is tokenized after a space, as within a sentence, unless that takes more tokens.

    Args:
        tokenizer: tokenizer of the model.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: list[str]) -> Tensor:
        """Tokenize texts."""
        rows = [min(map(self._ids, (f' {text}', text)), key=len) for text in texts]
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=-1)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)['input_ids']
        return ids


def generative_text_dims(model: str) -> int:
    """Width of a generative VLM's input tokens, from its config alone.

    Raises:
        FileNotFoundError: if the folder is missing.
        ValueError: if the config cannot be read, or the name could be a folder's or a repository's.
    """
    folder = generative_folder(model)
    name = model.removeprefix(GENERATIVE) if folder is None else str(folder)
    try:
        from transformers import AutoConfig

        with no_foreign_code():
            config = AutoConfig.from_pretrained(
                name, local_files_only=folder is not None, trust_remote_code=False
            )
        return int(config.get_text_config().hidden_size)
    # The files are foreign, and transformers checks few of their values.
    except Exception as error:
        raise ValueError(f'model={model!r} has no config that can be read: {error!r}') from error


def load_generative(
    model: str, source: WeightsSource, allow_random: bool
) -> tuple[GenerativeVLM, GenerativeTokenizer]:
    """Load a generative VLM in the dtype of its weights, and its tokenizer. No remote code runs.

    Args:
        model: 'transformers:' with a folder, or with the name of a repository, 'OWNER/NAME'.
        source: must be empty: the folder contains the weights.
        allow_random: accept a folder without weights, for tests.

    Returns:
        The model in eval mode, frozen, and its tokenizer.

    Raises:
        FileNotFoundError: if the folder, or a file in it, is missing.
        ValueError: if the model is not an image-text-to-text model of `KINDS`, `ImageTokens` cannot read it,
            or the folder's files do not fit together or name files outside.
        RuntimeError: if a repository cannot be fetched.
        ImportError: if transformers is missing.
    """
    if find_spec('transformers') is None:
        raise ImportError(f"model={model!r} needs what `pip install 'lfi[multimodal]'` brings")
    if source != WeightsSource():
        raise ValueError(f'pretrained and weights_file must be None for {model}, which names its weights')
    local_folder = generative_folder(model)
    weights = local_folder is None or has_weights(local_folder, allow_random)
    folder = _fetch(model) if local_folder is None else local_folder
    refuse_external_files(folder)
    try:
        with only_files_of(folder):
            vlm, processor = _load(str(folder), weights)
    except _UnfitModelError as error:
        raise ValueError(f'model={model!r} {error}') from error
    # The files are foreign, and transformers checks few of their values.
    except Exception as error:
        raise ValueError(
            f'teacher folder {folder} does not contain a valid model of transformers: {error}'
        ) from error
    vlm = GenerativeVLM(vlm, processor).eval().requires_grad_(False)
    return vlm, GenerativeTokenizer(processor.tokenizer)


class _UnfitModelError(ValueError):
    """A model of a kind that LFI cannot read."""


def _load(folder: str, weights: bool) -> tuple[Any, Any]:
    """Load the model and the processor of a folder."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    options: dict[str, Any] = dict(local_files_only=True, trust_remote_code=False)
    config = AutoConfig.from_pretrained(folder, **options)
    if type(config) not in AutoModelForImageTextToText._model_mapping or config.model_type not in KINDS:
        raise _UnfitModelError(
            f'is a {config.model_type!r}, and LFI cannot lay its image tokens on a grid: use an '
            f'image-text-to-text model of the kinds {", ".join(KINDS)}'
        )
    processor = AutoProcessor.from_pretrained(folder, **options)
    if not hasattr(processor, 'image_token'):
        raise ValueError(f'its processor, {type(processor).__name__}, does not take images with texts')
    auto: Any = AutoModelForImageTextToText
    # Only the eager implementation returns attention weights.
    if not weights:
        return auto.from_config(config, attn_implementation='eager'), processor
    vlm, info = auto.from_pretrained(
        folder, attn_implementation='eager', torch_dtype='auto', output_loading_info=True, **options
    )
    if info['missing_keys']:
        raise ValueError(f'the weights in {folder} do not fit the model: they lack {info["missing_keys"]}')
    unexpected = [name for name in info['unexpected_keys'] if not name.endswith(COMPUTED_BUFFERS)]
    if unexpected:
        raise ValueError(f'the weights in {folder} do not fit the model: it has no place for {unexpected}')
    head, stored_head = vlm.get_output_embeddings().weight, _stored_head(Path(folder))
    # If the config ties the head to the token embeddings, transformers drops the stored head.
    if stored_head is not None and not stored_head.to(head).equal(head):
        raise ValueError(f'the weights in {folder} have an lm_head, but the config ties it to the embeddings')
    if any(value.dtype.itemsize < 2 for value in vlm.parameters() if value.is_floating_point()):
        raise ValueError(f'the weights in {folder} are floats of 8 bits: save them in 16 or 32')
    return vlm, processor


def _stored_head(folder: Path) -> Tensor | None:
    """Read the decoder's head from a folder's safetensors files. None if there is none."""
    single, index = folder / 'model.safetensors', folder / 'model.safetensors.index.json'
    if single.is_file():
        with safe_open(single, 'pt') as file:
            files = dict.fromkeys(file.keys(), single.name)
    else:
        files = json.loads(index.read_text())['weight_map'] if index.is_file() else {}
    name = next((name for name in files if name.endswith('lm_head.weight')), None)
    if name is None:
        return None
    with safe_open(folder / files[name], 'pt') as file:
        return file.get_tensor(name)


def _fetch(model: str) -> Path:
    try:
        return fetch_folder(model.removeprefix(GENERATIVE))
    except Exception as error:
        raise RuntimeError(
            f'{model} is not a folder, and could not be fetched: {error}. On a machine without network, '
            f"fetch it elsewhere, and give its folder as '{GENERATIVE}FOLDER'"
        ) from error
