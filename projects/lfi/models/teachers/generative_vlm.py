"""Generative VLMs of transformers, under the names of open_clip's models."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .foreign_code import no_foreign_code
from .image_tokens import ImageTokens, MergedPatches, PlainGrid, Tiles
from .weights_source import WeightsSource

GENERATIVE = 'transformers:'
"""How the names of transformers' models begin."""
KINDS: dict[str, type[ImageTokens]] = dict(
    llava=PlainGrid, idefics3=Tiles, smolvlm=Tiles, qwen2_vl=MergedPatches, qwen2_5_vl=MergedPatches
)
"""How each kind of model turns an image into tokens, by transformers' `model_type`."""
FILES = {
    'config': ('config.json',),
    'preprocessing': ('preprocessor_config.json', 'processor_config.json'),
    'tokenizer': ('tokenizer.json', 'tokenizer.model', 'vocab.json'),
}
"""What a folder must hold of each beside weights, one of them."""
_NAME = re.compile(r'(\w[\w.-]*/)?\w[\w.-]*')
LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    SafetensorError,
)
"""What a folder that is incomplete or foreign, and a name that cannot be fetched, end in."""


class GenerativeVLM(nn.Module):
    """A generative VLM. It has no joint space; its embeddings are in the space of its input tokens.

    An image's embedding is the mean of its tokens, and a text's the mean of its own tokens' input embeddings:
    the one text embedding that needs no prompt and no choice of a layer. The alternative, the decoder's last
    hidden state of the text alone, is made for predicting the next token. Cosines of the two mean nothing.

    Args:
        model: transformers' image-text-to-text model.
        processor: the model's.

    Attributes:
        visual: the image side, `ImageTokens`. It holds all of the model, since each layer of the decoder sees
            the image; texts need the embeddings of tokens alone.

    Raises:
        ValueError: as `ImageTokens` says.
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
        """Embed images (B, 3, H, W), (B, D) of unit length."""
        return F.normalize(self.visual(images).float().mean(1), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Embed texts by their token ids (n, length), padded by -1: (n, D)."""
        own = (ids >= 0).unsqueeze(-1)
        return (own * self.embed(ids.clamp_min(0)).float()).sum(1) / own.sum(1)


class GenerativeTokenizer:
    """From n texts to their token ids (n, length), padded by -1, without what begins or ends a prompt.

    A text is written as within a sentence, after a space, unless that takes more tokens.

    Args:
        tokenizer: the model's.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: list[str]) -> Tensor:
        """Make token ids of texts."""
        rows = [min(map(self._ids, (f' {text}', text)), key=len) for text in texts]
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=-1)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)['input_ids']
        return ids


def generative_folder(model: str) -> Path | None:
    """The folder that 'transformers:...' stands for; None for a name that transformers fetches.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it could be a name as well, or brings code that transformers would run.
    """
    name = model.removeprefix(GENERATIVE)
    path = Path(name).expanduser()
    if path.exists() and _NAME.fullmatch(name):
        # Someone else's student names its teacher so, and means none of these files.
        raise ValueError(
            f'model={model!r} is a name that transformers fetches, and the folder {Path.cwd()} has one of '
            f"this name: give the folder as '{GENERATIVE}./{name}', or start lfi in another one"
        )
    if path.is_dir():
        _refuse_what_leads_elsewhere(path)
        return path
    if name.count('/') <= 1 and name[:1] not in ('.', '/', '~'):
        return None
    raise FileNotFoundError(f'teacher folder not found: {path}')


def _refuse_what_leads_elsewhere(folder: Path) -> None:
    """Refuse a folder with code that transformers would run, or whose weights are another's."""
    if (folder / 'custom_generate').exists():
        raise ValueError(
            f'{folder / "custom_generate"} is code, which transformers would run; nothing was read. If the '
            'weights are sound, remove it'
        )
    if (folder / 'adapter_config.json').exists():
        raise ValueError(
            f'{folder} holds an adapter, whose model is elsewhere: merge the two by '
            "peft's merge_and_unload, and save what comes of it"
        )


def generative_text_dims(model: str) -> int:
    """The width of a generative VLM's input tokens, by its config alone.

    Raises:
        FileNotFoundError: if the folder is missing.
        ValueError: if there is no config that says it.
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
    except (*LOAD_ERRORS, ImportError, AttributeError) as error:
        raise ValueError(f'model={model!r} has no config that can be read: {error}') from error


def load_generative(
    model: str, source: WeightsSource, allow_random: bool
) -> tuple[GenerativeVLM, GenerativeTokenizer]:
    """Load a generative VLM in the number format of its weights, and its tokenizer. No remote code runs.

    Args:
        model: 'transformers:' with a folder, or with a name that transformers fetches, 'OWNER/NAME'.
        source: must be empty.
        allow_random: accept a folder without weights, for tests.

    Returns:
        The model in eval mode, and what makes token ids of texts.

    Raises:
        FileNotFoundError: if the folder, or a file in it, is missing.
        ValueError: if the model is no image-text-to-text model, or not of a kind in `KINDS`, as `ImageTokens`
            says, or what is in the folder does not fit together.
        RuntimeError: if a name cannot be fetched.
        ImportError: if transformers is missing.
    """
    try:
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
    except ImportError as error:
        raise ImportError(f"model={model!r} needs what `pip install 'lfi[multimodal]'` brings") from error
    if source != WeightsSource():
        raise ValueError(f'pretrained and weights_file must be None for {model}, which names its weights')
    folder = generative_folder(model)
    has_weights = folder is None or _check_folder(folder, allow_random)
    name = model.removeprefix(GENERATIVE) if folder is None else str(folder)

    def read(load: Callable[..., Any], **options: Any) -> Any:
        try:
            return load(name, local_files_only=folder is not None, trust_remote_code=False, **options)
        except LOAD_ERRORS as error:
            raise _explain(error, model, folder) from error

    config = read(AutoConfig.from_pretrained)
    if type(config) not in AutoModelForImageTextToText._model_mapping or config.model_type not in KINDS:
        raise ValueError(
            f'model={model!r} is a {config.model_type!r}, and LFI cannot lay its image tokens on a grid: use '
            f'an image-text-to-text model of the kinds {", ".join(KINDS)}'
        )
    processor = read(AutoProcessor.from_pretrained)
    # Attention can be read of the eager implementation alone.
    if has_weights:
        vlm, info = read(
            AutoModelForImageTextToText.from_pretrained,
            attn_implementation='eager',
            torch_dtype='auto',
            output_loading_info=True,
        )
        if info['missing_keys']:
            raise ValueError(f'the weights in {name} do not fit the model: they lack {info["missing_keys"]}')
    else:
        vlm = AutoModelForImageTextToText.from_config(config, attn_implementation='eager')
    vlm = GenerativeVLM(vlm, processor).eval().requires_grad_(False)
    return vlm, GenerativeTokenizer(processor.tokenizer)


def _check_folder(folder: Path, allow_random: bool) -> bool:
    """Whether a folder has weights; an error for what else it lacks."""
    for what, files in FILES.items():
        if not any((folder / file).is_file() for file in files):
            raise FileNotFoundError(f'teacher folder {folder} has no {what}: {" or ".join(files)}')
    has_weights = any(path.suffix in ('.safetensors', '.bin') for path in folder.iterdir())
    if not has_weights and not allow_random:
        raise FileNotFoundError(
            f'teacher folder {folder} has no weights (*.safetensors or *.bin); random weights need '
            'allow_random=True'
        )
    return has_weights


def _explain(error: Exception, model: str, folder: Path | None) -> Exception:
    if folder is not None:
        return ValueError(f'teacher folder {folder} does not hold a model of transformers that fits: {error}')
    return RuntimeError(
        f'{model} is not a folder, and could not be fetched: {error}. On a machine without network, fetch it '
        f"elsewhere, and give its folder as '{GENERATIVE}FOLDER'"
    )
