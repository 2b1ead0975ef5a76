"""Finding and loading of a VLM and its weights."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from traceback import walk_tb
from typing import Any

import open_clip
import torch
from safetensors.torch import load_file
from torch import nn

from lfi.errors import similar_names
from lfi.utils.fileio import refuse_pipes
from lfi.utils.modules import check_values
from lfi.utils.process import offline, override
from lfi.utils.repositories import first_lines

from ..generative.folder import GENERATIVE
from ..generative.generative_vlm import load_generative
from ..vlm import VLM, Tokenizer
from .blip import BlipTokenizer, BlipVLM
from .dual_encoder import load_dual_encoder
from .folder_config import FILE, read_folder_config
from .foreign_code import no_foreign_code
from .tokenizers import load_tokenizer, refuse_namesakes
from .weights_source import TrainingSettings, WeightsSource, interpolation_of_weights, uses_quick_gelu

BUILT_IN = Path(__file__).parents[1] / 'built_in'
"""Folder of the teachers that ship with the package: one open_clip folder for each name."""
TEACHER_ROOT = 'LFI_TEACHER_ROOT'
"""Environment variable with the folder of teachers' folders."""
BLIP = 'mmpretrain:'
"""Prefix of the names of mmpretrain's models."""
BLIP_VOCABULARY = 'bert-base-uncased'
"""Repository of the vocabulary in mmpretrain's configs of BLIP."""
HUB = 'hf-hub:'
"""Prefix of the names of repositories in open_clip."""
TEXT_TOWER_FILE = 'open_clip/hf_model.py'
"""File of open_clip that builds text towers of transformers, whose configs lie on a hub."""
TRANSFORMERS_HINT = (
    "for a generative VLM write 'transformers:FOLDER'; for CLIP and SigLIP take open_clip's own weights"
)
QUICK_GELU_HINT = "Models with QuickGELU have names that end in '-quickgelu'"


def load_vlm(
    model: str | Mapping[str, Any],
    pretrained: str | None,
    allow_random: bool,
    weights_file: str | Path | Mapping[str, Any] | None = None,
) -> tuple[VLM, Tokenizer]:
    """Load a VLM and its tokenizer.

    Args:
        model: name of an open_clip model ('ViT-B-16'), a folder with `open_clip_config.json` and weights
            ('./NAME' in the working directory), the name of a folder below `TEACHER_ROOT` or of a teacher
            that ships with the package ('shapes-tiny'), 'mmpretrain:' with the name or the config file of a
            BLIP for retrieval ('mmpretrain:blip-base_3rdparty_retrieval'), 'transformers:' with the folder or
            the name of a generative VLM, or the config of a custom `DualEncoder`, whose class loads its
            weights.
        pretrained: only if `model` is the name of an open_clip model: a tag of open_clip ('openai'), or a
            file of weights, with the same effect as `weights_file`. Must be None for a folder, which
            contains its weights.
        allow_random: accept random weights for a model name without weights.
        weights_file: local file of weights. If `pretrained` is a tag, the file must be a copy of the tag's
            weights, and nothing is downloaded. Without a tag, the training settings must be known
            (`WeightsSource.training`) or given: `dict(path=..., mean=..., std=..., quick_gelu=...)`. Must be
            None for a folder. Defaults to None.

    Returns:
        The model in eval mode, and its tokenizer of n texts to ids (n, length).

    Raises:
        FileNotFoundError: if a folder, its config or a weights file is missing.
        ValueError: if the model is unknown, no weights are named, the weights do not fit the model, or the
            settings of their training are not known.
        RuntimeError: if the weights of a tag, a tokenizer, BLIP's vocabulary, or a generative VLM cannot be
            fetched.
        ImportError: if a package that the model or its tokenizer needs is not installed.
    """
    source = WeightsSource.of(pretrained, weights_file)
    if isinstance(model, Mapping):
        if source != WeightsSource():
            raise ValueError(
                f'pretrained={pretrained!r} and weights_file={weights_file!r} must be None: the class of '
                f'model={dict(model)!r} loads its weights'
            )
        return load_dual_encoder(model)
    if model.startswith(BLIP):
        return _load_blip(model, source, allow_random)
    with no_foreign_code():
        if model.startswith(GENERATIVE):
            return load_generative(model, source, allow_random)
        return _load_open_clip(model, source, allow_random)


def _load_open_clip(model: str, source: WeightsSource, allow_random: bool) -> tuple[VLM, Tokenizer]:
    folder = find_folder(model)
    if folder is None:
        return _load_named(model, source, allow_random)
    if source != WeightsSource():
        option = f'pretrained={source.tag!r}' if source.path is None else f'weights_file={str(source.path)!r}'
        raise ValueError(f'{option} must be None: the folder {model} contains its weights')
    TrainingSettings.of_config(folder / FILE)
    # A missing tokenizer is reported before gigabytes of weights are read.
    tokenizer = load_tokenizer(model, folder)
    # The folder's config may name any repository as the config of a transformers text tower.
    with offline(), override(open_clip.factory, 'resize_text_pos_embed', _check_state):
        return _create(f'local-dir:{folder}', model, folder), tokenizer


def _load_named(model: str, source: WeightsSource, allow_random: bool) -> tuple[VLM, Tokenizer]:
    check_name(model)
    _check_source(model, source, allow_random)
    if source.path is None:
        if source.tag is not None:
            _check_activation(model, source, repr(source.tag))
        tokenizer = load_tokenizer(model)
        return _create(model, model, source.tag, pretrained=source.tag), tokenizer
    if not source.path.is_file():
        raise FileNotFoundError(f'teacher weights not found: {source.path}')
    training = _check_activation(model, source, f'in {source.path}')
    pixels: dict[str, Any] = dict(mean=training.mean, std=training.std)
    interpolation = interpolation_of_weights(source, model)
    if interpolation is not None:
        pixels['interpolation'] = interpolation
    tokenizer = load_tokenizer(model)
    options = dict(pretrained=str(source.path), force_preprocess_cfg=pixels)
    return _create(model, model, source.path, **options), tokenizer


def _check_activation(model: str, source: WeightsSource, weights: str) -> TrainingSettings:
    # The same weights under another activation give another model.
    training, quick_gelu = source.training(model), uses_quick_gelu(model)
    if training.quick_gelu != quick_gelu:
        raise ValueError(
            f'the weights {weights} do not fit the model {model}: QuickGELU mismatch between the '
            f'model ({quick_gelu}) and its weights ({training.quick_gelu}). {QUICK_GELU_HINT}'
        )
    return training


def _create(name: str, model: str, weights: Path | str | None, **options: Any) -> VLM:
    try:
        with warnings.catch_warnings():
            # `_check_activation` is more precise: a tag may leave its activation to the model.
            warnings.filterwarnings('ignore', message='QuickGELU mismatch')
            vlm = _quietly(open_clip.create_model, name, load_weights=True, **options)
        _check_presence_weights(vlm, weights is not None)
    # A foreign config may raise any error, and so may weights that do not fit.
    except Exception as error:
        raise _load_error(error, model, weights) from error
    if not isinstance(vlm, open_clip.CoCa):
        # Only CoCa can use the tokens that a config may request by output_tokens.
        vlm.visual.output_tokens = False
    return vlm.eval().requires_grad_(False)


def _check_state(state: Mapping[str, Any], model: Any) -> None:
    """Refuse weights with invalid values or another text length than the model's, just before loading.

    This function replaces open_clip's, which resizes text positions to a `context_length` without training.
    """
    # Only training needs this count, whose dtype `model.half()` changes.
    check_values(model, {name: state[name] for name in state if not name.endswith('num_batches_tracked')})
    stored = state.get('positional_embedding', state.get('text.positional_embedding'))
    positions = getattr(model, 'positional_embedding', None)
    positions = getattr(model.text, 'positional_embedding', None) if positions is None else positions
    if stored is not None and positions is not None and len(stored) != len(positions):
        raise ValueError(f'text_cfg.context_length={len(positions)}, but the weights have {len(stored)}')


def _check_presence_weights(vlm: VLM, trained: bool) -> None:
    """Check the logit scale and bias, which turn cosines into presence and change no embedding.

    Args:
        vlm: model of open_clip.
        trained: whether weights were loaded. A bias of 0 is then a missing bias that open_clip filled in.

    Raises:
        ValueError: if a value is not finite, or the bias is missing.
    """
    scale, bias = vlm.logit_scale.exp(), getattr(vlm, 'logit_bias', None)
    if not (scale.isfinite() & (scale > 0)).all():
        raise ValueError(f'logit_scale={vlm.logit_scale.item()} is not the logarithm of a number above 0')
    if bias is not None and not (bias.isfinite() & (bias != 0 if trained else True)).all():
        raise ValueError(f'logit_bias={bias.item()} is missing or not finite, and presence needs it')


def _load_blip(model: str, source: WeightsSource, allow_random: bool) -> tuple[BlipVLM, BlipTokenizer]:
    from mmpretrain.utils import dependency

    if not dependency.WITH_MULTIMODAL:
        raise ImportError(f"model={model!r} needs what `pip install 'lfi[multimodal]'` brings")
    from mmpretrain import ModelHub, get_model
    from mmpretrain.models.multimodal import BlipRetrieval

    if source.tag is not None or source.settings:
        raise ValueError(
            f'pretrained must be None for {model}, and weights_file a path: open_clip has no tags for it, '
            'and its config gives mean and std'
        )
    if source.path is None and not allow_random:
        raise ValueError(
            f'pretrained=None: the teacher {model} would have random weights. Name a weights_file; random '
            'weights need allow_random=True'
        )
    name = model.removeprefix(BLIP)
    for kind, file in (('weights', source.path), ('config', name if name.endswith('.py') else None)):
        if file is not None and not Path(file).is_file():
            raise FileNotFoundError(f'teacher {kind} not found: {file}')
    if not name.endswith('.py'):
        refuse_namesakes(model, BLIP_VOCABULARY)
        _check_kind(model, str(ModelHub.get(name).config.model.type))
    try:
        blip = get_model(name)
    except (OSError, ImportError, TypeError) as error:
        # A missing vocabulary raises any of these.
        raise RuntimeError(
            f'{model} could not be built: {error}. Where its vocabulary cannot be fetched, give a config '
            "file whose tokenizer's name_or_path is a folder with vocab.txt"
        ) from error
    if not isinstance(blip, BlipRetrieval):
        raise ValueError(f'model={model!r} is a {type(blip).__name__}, not a BLIP for retrieval')
    if source.path is not None:
        _load_blip_weights(blip, model, source.path)
    return BlipVLM(blip).eval().requires_grad_(False), BlipTokenizer(blip)


def _check_kind(model: str, kind: str) -> None:
    """Refuse a model that is no BLIP before it is built: some models fetch weights and run their code."""
    if kind != 'BlipRetrieval':
        raise ValueError(f'model={model!r} is a {kind}, not a BLIP for retrieval')


def _load_blip_weights(blip: nn.Module, model: str, path: Path) -> None:
    modules = ('vision_backbone', 'vision_neck', 'text_backbone', 'text_neck', 'temp')
    try:
        if path.suffix == '.safetensors':
            state: dict[str, Any] = load_file(path)
        else:
            state = torch.load(path, map_location='cpu', weights_only=True)
        state = state.get('state_dict', state)
        state = {name: value for name, value in state.items() if name.split('.')[0] in modules}
        missing = blip.load_state_dict(state, strict=False).missing_keys
    except Exception as error:
        raise _load_error(error, model, path) from error
    # Position ids are computed, not learnt.
    missing = [name for name in missing if name.split('.')[0] in modules and 'position_ids' not in name]
    if missing:
        raise _load_error(ValueError(f'they lack {missing}'), model, path)


def find_folder(model: str) -> Path | None:
    """Find the folder of a model, with weights. None if `model` is a name of open_clip.

    Raises:
        FileNotFoundError: if the folder, its config or its weights are missing.
        ValueError: if `model` is the name of a repository, or the folder contains a pipe.
    """
    path = find_config_folder(model)
    if path is not None and not any(f.suffix in ('.safetensors', '.bin', '.pth') for f in path.iterdir()):
        raise FileNotFoundError(f'teacher folder {path} has no weights (*.safetensors, *.bin or *.pth)')
    return path


def find_config_folder(model: str) -> Path | None:
    """Find the folder of a model, with or without weights. None if `model` is a name of open_clip.

    Raises:
        FileNotFoundError: if the folder or its config is missing.
        ValueError: if `model` is the name of a repository, or the folder contains a pipe.
    """
    refuse_repository(model)
    path = Path(model.removeprefix('local-dir:'))
    if not _is_path(model):
        named = _folder_of_name(model)
        if named is None:
            return None
        path = named
    if not path.is_dir():
        raise FileNotFoundError(
            f'teacher folder not found: {path}. In our configs {TEACHER_ROOT} is the folder of teachers'
        )
    if not (path / FILE).is_file():
        message = f'teacher folder {path} has no {FILE}'
        inner = sorted(folder.name for folder in path.iterdir() if (folder / FILE).is_file())
        if inner:
            raise FileNotFoundError(f'{message}: give a folder in it, {", ".join(inner[:3])}')
        if (path / 'config.json').is_file():
            message = f'{message}; it has a config.json of transformers: {TRANSFORMERS_HINT}'
        raise FileNotFoundError(message)
    refuse_pipes(path)
    return path


def _is_path(model: str) -> bool:
    """Whether `model` is a path.

    A bare name is never looked up in the working directory: the config of a downloaded student may have it.
    """
    return model.startswith('local-dir:') or model in ('.', '..') or bool({'/', os.sep} & {*model})


def _folder_of_name(name: str) -> Path | None:
    """Find the folder of a bare name: a built-in teacher, or a folder below `TEACHER_ROOT`."""
    if name and (BUILT_IN / name).is_dir():
        return BUILT_IN / name
    root = os.environ.get(TEACHER_ROOT)
    if not (root and name) or name in open_clip.list_models() or not (Path(root) / name).is_dir():
        return None
    return Path(root) / name


def refuse_repository(model: str) -> None:
    """Refuse the name of a repository.

    Raises:
        ValueError: if the name begins with `hf-hub:`.
    """
    if model.startswith(HUB):
        name = model.removeprefix(HUB)
        raise ValueError(
            f'model={model!r} is a repository: fetch it by `hf download {name} --local-dir FOLDER` and give '
            "the folder, or give open_clip's own name and tag, which lfi teachers lists"
        )


def check_name(model: str) -> None:
    """Check that open_clip has a model of a name.

    Raises:
        ValueError: if it has none; the message lists similar names.
    """
    if model not in open_clip.list_models():
        if Path(model).is_dir():
            raise ValueError(
                f'model={model!r} is not a model of open_clip.list_models(): give the folder of this name '
                f"as a path, model='./{model}'"
            )
        built_in = sorted(path.parent.name for path in BUILT_IN.glob(f'*/{FILE}'))
        similar = get_close_matches(model, [*open_clip.list_models(), *built_in], n=3, cutoff=0.4)
        raise ValueError(
            f'model={model!r} is neither a folder nor a model of open_clip.list_models(); '
            f'{similar_names(similar)}; LFI has {", ".join(built_in)}; a folder is given by its path, or by '
            f'its name below {TEACHER_ROOT}'
        )


def _check_source(model: str, source: WeightsSource, allow_random: bool) -> None:
    tags = open_clip.list_pretrained_tags_by_model(model)
    if source == WeightsSource() and not allow_random:
        raise ValueError(
            f'pretrained=None: the teacher {model} would have random weights. Name a weights_file or one of '
            f'{tags}; random weights need allow_random=True'
        )
    if source.tag is not None and source.tag not in tags:
        raise ValueError(
            f'pretrained={source.tag!r} is neither a file nor a tag of {model}; its tags: {tags}'
        )


def _load_error(error: Exception, model: str, weights: Path | str | None) -> Exception:
    if any(frame.f_code.co_filename.endswith(TEXT_TOWER_FILE) for frame, _ in walk_tb(error.__traceback__)):
        return _text_tower_error(error, model)
    if weights is None:
        return ValueError(f'the model {model} could not be built: {error}')
    if isinstance(weights, str):
        return RuntimeError(
            f'the weights {weights!r} of {model} could not be fetched: {_root_cause(error)}. On a machine '
            'without network, fetch them elsewhere and give the file as weights_file, beside pretrained'
        )
    if 'TorchScript' in str(error):
        return ValueError(
            f'the weights in {weights} are a TorchScript archive, as OpenAI publishes CLIP: it holds code, '
            "and is not read. Take the file that open_clip fetches for the tag, or save the archive's "
            'state_dict as safetensors'
        )
    return ValueError(f'the weights in {weights} do not fit the model {model}, or are corrupted: {error}')


def _root_cause(error: BaseException) -> str:
    """Return the message of the first of a chain of errors: libraries add advice to each."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return first_lines(error)


def _text_tower_error(error: Exception, model: str) -> ValueError:
    folder = find_config_folder(model)
    if folder is None:
        config = open_clip.get_model_config(model)
    else:
        config = read_folder_config(folder / FILE)['model_cfg']
    tower = config['text_cfg'].get('hf_model_name')
    message = f'the text tower {tower!r} of {model} cannot be built: {first_lines(error)}'
    if isinstance(error, OSError):
        message += f'. Its config must be on this machine: fetch it by `hf download {tower} config.json`'
    return ValueError(message)


def _quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # open_clip reports each step of the creation through the root logger.
    with override(logging.root.manager, 'disable', logging.ERROR):
        return function(*args, **kwargs)
