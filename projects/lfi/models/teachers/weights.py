"""Finding and loading a VLM, with errors that say what is wrong."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import open_clip
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .blip import BlipTokenizer, BlipVLM

EMBEDDED = Path(__file__).parent / 'embedded'
"""open_clip folders that ship with the package, by name."""
BLIP = 'mmpretrain:'
"""How the names of mmpretrain's models begin."""


def load_vlm(
    model: str, pretrained: str | None, allow_random: bool
) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    """Load a VLM and its tokenizer.

    Args:
        model: an open_clip model name ('ViT-B-16'), a folder with `open_clip_config.json` and weights, the
            name of a teacher that ships with the package ('shapes-tiny'), or 'mmpretrain:' with the name or
            the config file of a BLIP for retrieval ('mmpretrain:blip-base_3rdparty_retrieval').
        pretrained: for a model name, a local weights file or one of open_clip's tags ('openai'). Must be
            None for a folder, which holds its weights, and a file for BLIP.
        allow_random: with a model name and `pretrained=None`, accept random weights.

    Raises:
        FileNotFoundError: if a folder, its config or a weights file is missing.
        ValueError: if the model is unknown, no weights are named, or weights do not fit the model.
        RuntimeError: if the weights of a tag, or BLIP's vocabulary, cannot be fetched.
        ImportError: if mmpretrain lacks what BLIP needs.
    """
    if model.startswith(BLIP):
        return _load_blip(model, pretrained, allow_random)
    folder = _folder(model)
    if folder is not None:
        if pretrained is not None:
            raise ValueError(f'pretrained={pretrained!r} must be None: the folder {model} holds its weights')
        name = f'local-dir:{folder}'
    else:
        _check_name(model, pretrained, allow_random)
        name = model
    if pretrained is not None and _looks_like_file(pretrained) and not Path(pretrained).is_file():
        raise FileNotFoundError(f'teacher weights not found: {pretrained}')
    try:
        with warnings.catch_warnings():
            # The same weights under another activation give another model.
            warnings.filterwarnings('error', message='QuickGELU mismatch')
            vlm = _quietly(open_clip.create_model, name, pretrained=pretrained, load_weights=True)
    except UserWarning as error:
        raise ValueError(
            f'the weights {pretrained!r} do not fit the model {model}: {error} '
            "Models with QuickGELU have names that end in '-quickgelu'"
        ) from error
    except (RuntimeError, OSError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise _explain(error, model, pretrained, folder) from error
    return vlm.eval().requires_grad_(False), open_clip.get_tokenizer(name)


def _load_blip(model: str, pretrained: str | None, allow_random: bool) -> tuple[BlipVLM, BlipTokenizer]:
    from mmpretrain.utils import dependency

    if not dependency.WITH_MULTIMODAL:
        raise ImportError(f"model={model!r} needs what `pip install 'lfi[multimodal]'` brings")
    from mmpretrain import get_model
    from mmpretrain.models.multimodal import BlipRetrieval

    if pretrained is None and not allow_random:
        raise ValueError(
            f'pretrained=None: the teacher {model} would have random weights. Name a weights file; random '
            'weights need allow_random=True'
        )
    name = model.removeprefix(BLIP)
    for kind, file in (('weights', pretrained), ('config', name if name.endswith('.py') else None)):
        if file is not None and not Path(file).is_file():
            raise FileNotFoundError(f'teacher {kind} not found: {file}')
    try:
        blip = get_model(name)
    except (OSError, ImportError, TypeError) as error:
        # A vocabulary that is not at hand ends in any of these.
        raise RuntimeError(
            f'{model} could not be built: {error}. Where its vocabulary cannot be fetched, give a config '
            "file whose tokenizer's name_or_path is a folder with vocab.txt"
        ) from error
    if not isinstance(blip, BlipRetrieval):
        raise ValueError(f'model={model!r} is a {type(blip).__name__}, not a BLIP for retrieval')
    if pretrained is not None:
        _load_blip_weights(blip, model, pretrained)
    return BlipVLM(blip).eval().requires_grad_(False), BlipTokenizer(blip)


def _load_blip_weights(blip: nn.Module, model: str, pretrained: str) -> None:
    read = ('vision_backbone', 'vision_neck', 'text_backbone', 'text_neck', 'temp')
    try:
        if pretrained.endswith('.safetensors'):
            state = load_file(pretrained)
        else:
            state = torch.load(pretrained, map_location='cpu', weights_only=True)
        state = state.get('state_dict', state)
        state = {name: value for name, value in state.items() if name.split('.')[0] in read}
        missing = blip.load_state_dict(state, strict=False).missing_keys
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise _explain(error, model, None, Path(pretrained)) from error
    # Positions are counted, not learnt.
    missing = [name for name in missing if name.split('.')[0] in read and 'position_ids' not in name]
    if missing:
        raise _explain(ValueError(f'they lack {missing}'), model, None, Path(pretrained))


def _folder(model: str) -> Path | None:
    path = Path(model.removeprefix('local-dir:'))
    if len(Path(model).parts) == 1 and (EMBEDDED / model).is_dir():
        path = EMBEDDED / model
    elif not model.startswith('local-dir:') and len(path.parts) < 2 and not path.is_dir():
        return None
    if not path.is_dir():
        raise FileNotFoundError(
            f'teacher folder not found: {path}. In our configs LFI_TEACHER_ROOT says where teachers lie'
        )
    if not (path / 'open_clip_config.json').is_file():
        raise FileNotFoundError(f'teacher folder {path} has no open_clip_config.json')
    if not any(file.suffix in ('.safetensors', '.bin', '.pth') for file in path.iterdir()):
        raise FileNotFoundError(f'teacher folder {path} has no weights (*.safetensors, *.bin or *.pth)')
    return path


def _check_name(model: str, pretrained: str | None, allow_random: bool) -> None:
    if model not in open_clip.list_models():
        embedded = sorted(path.parent.name for path in EMBEDDED.glob('*/open_clip_config.json'))
        near = get_close_matches(model, [*open_clip.list_models(), *embedded], n=3, cutoff=0.4)
        raise ValueError(
            f'model={model!r} is neither a folder nor a model of open_clip.list_models(); near it are '
            f'{", ".join(near) or "none"}, and with LFI come {", ".join(embedded)}'
        )
    if pretrained is None and not allow_random:
        raise ValueError(
            f'pretrained=None: the teacher {model} would have random weights. Name a weights file or one of '
            f'{open_clip.list_pretrained_tags_by_model(model)}; random weights need allow_random=True'
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained is not None and not _looks_like_file(pretrained) and pretrained not in tags:
        raise ValueError(
            f'pretrained={pretrained!r} is neither a file nor a tag of {model}; its tags: {tags}'
        )


def _looks_like_file(pretrained: str) -> bool:
    return Path(pretrained).suffix != '' or '/' in pretrained


def _explain(error: Exception, model: str, pretrained: str | None, folder: Path | None) -> Exception:
    source = folder or pretrained
    if folder is None and pretrained is not None and not _looks_like_file(pretrained):
        return RuntimeError(
            f'the weights {pretrained!r} of {model} could not be fetched: {error}. On a machine without '
            'network, fetch them elsewhere and give the file as pretrained'
        )
    return ValueError(f'the weights in {source} do not fit the model {model}, or are torn: {error}')


def _quietly(function, *args, **kwargs):
    # open_clip reports each step of the creation through the root logger.
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        return function(*args, **kwargs)
    finally:
        logging.disable(level)
