"""Finding and loading a VLM, with errors that say what is wrong."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import load_file
from torch import nn

from lfi.errors import near_it
from lfi.utils.fileio import refuse_pipes
from lfi.utils.modules import check_values
from lfi.utils.process import changed, offline
from lfi.utils.repositories import first_line

from ..generative.folder import GENERATIVE
from ..generative.generative_vlm import load_generative
from ..vlm import VLM, Tokenizer
from .blip import BlipTokenizer, BlipVLM
from .dual_encoder import load_dual_encoder
from .folder_config import FILE, read_folder_config
from .foreign_code import no_foreign_code
from .tokenizers import load_tokenizer, refuse_namesakes
from .weights_source import Training, WeightsSource, interpolation_of_weights, uses_quick_gelu

BUILT_IN = Path(__file__).parents[1] / 'built_in'
"""open_clip folders that ship with the package, by name."""
BLIP = 'mmpretrain:'
"""How the names of mmpretrain's models begin."""
BLIP_VOCABULARY = 'bert-base-uncased'
"""The repository whose vocabulary mmpretrain's configs of BLIP name."""
HUB = 'hf-hub:'
"""How open_clip has the names of repositories begin."""
OF_TRANSFORMERS = (
    "for a generative VLM write 'transformers:FOLDER'; of CLIP and SigLIP take open_clip's own weights"
)
QUICK_GELU = "Models with QuickGELU have names that end in '-quickgelu'"


def load_vlm(
    model: str | Mapping[str, Any],
    pretrained: str | None,
    allow_random: bool,
    weights_file: str | Path | Mapping[str, Any] | None = None,
) -> tuple[VLM, Tokenizer]:
    """Load a VLM and its tokenizer.

    Args:
        model: an open_clip model name ('ViT-B-16'), a folder with `open_clip_config.json` and weights (one of
            the working directory as './NAME'), the name of a teacher that ships with the package
            ('shapes-tiny'), 'mmpretrain:' with the name or the config file of a BLIP for retrieval
            ('mmpretrain:blip-base_3rdparty_retrieval'), or 'transformers:' with the folder or the name of a
            generative VLM, as `load_generative` says; or the config of a `DualEncoder` of one's own, whose
            class loads its weights.
        pretrained: for a model name, one of open_clip's tags ('openai'), or a file as `weights_file`. Must
            be None for a folder, which holds its weights.
        allow_random: with a model name and no weights, accept random ones.
        weights_file: a local file of weights: the tag's, which then need not be fetched; or, without a tag,
            of weights whose training is known (`WeightsSource.training`) or stated,
            `dict(path=..., mean=..., std=..., quick_gelu=...)`. Must be None for a folder. Defaults to None.

    Returns:
        The model in eval mode, and what makes token ids (n, length) of n texts.

    Raises:
        FileNotFoundError: if a folder, its config or a weights file is missing.
        ValueError: if the model is unknown, no weights are named, weights do not fit the model, or it is not
            known how they were trained.
        RuntimeError: if the weights of a tag, a tokenizer, BLIP's vocabulary, or a generative VLM cannot be
            fetched.
        ImportError: if what BLIP, a tokenizer of `transformers`, or a generative VLM needs is not installed.
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
        given = f'pretrained={source.tag!r}' if source.path is None else f'weights_file={str(source.path)!r}'
        raise ValueError(f'{given} must be None: the folder {model} holds its weights')
    Training.of_config(folder / FILE)
    # A tokenizer that is missing is found before gigabytes of weights are read.
    tokenizer = load_tokenizer(model, folder)
    text_tower = read_folder_config(folder / FILE)['model_cfg']['text_cfg'].get('hf_model_name')
    try:
        # The config of a text tower of transformers is on a hub, under a name of the folder's choice.
        with offline(), changed(open_clip.factory, 'resize_text_pos_embed', _check_state):
            return _create(f'local-dir:{folder}', model, folder), tokenizer
    except ValueError as error:
        if not text_tower:
            raise
        raise ValueError(
            f'{first_line(error)}. Its text tower is {text_tower!r}, whose config is taken from this machine '
            f'alone: fetch it by `hf download {text_tower} config.json`'
        ) from error


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


def _check_activation(model: str, source: WeightsSource, weights: str) -> Training:
    # The same weights under another activation give another model.
    training, own = source.training(model), uses_quick_gelu(model)
    if training.quick_gelu != own:
        raise ValueError(
            f'the weights {weights} do not fit the model {model}: QuickGELU mismatch between the '
            f'model ({own}) and its weights ({training.quick_gelu}). {QUICK_GELU}'
        )
    return training


def _create(name: str, model: str, weights: Path | str | None, **options: Any) -> VLM:
    try:
        with warnings.catch_warnings():
            # `_check_activation` knows more: a tag may leave its activation to the model.
            warnings.filterwarnings('ignore', message='QuickGELU mismatch')
            vlm = _quietly(open_clip.create_model, name, load_weights=True, **options)
        _check_answers(vlm, weights is not None)
    # A config of someone else may end in any error, and so do weights that do not fit.
    except Exception as error:
        raise _explain(error, model, weights) from error
    if not isinstance(vlm, open_clip.CoCa):
        # A config may ask for the tokens too (output_tokens); CoCa alone can do with them.
        vlm.visual.output_tokens = False
    return vlm.eval().requires_grad_(False)


def _check_state(state: Mapping[str, Any], model: Any) -> None:
    """Refuse weights of another kind or length of texts than the model's, just before they are loaded.

    It takes the place of what fits the places of a text's tokens to a `context_length` that was not trained.
    """
    # What halves all weights of a model halves this count too, which training alone needs.
    check_values(model, {name: state[name] for name in state if not name.endswith('num_batches_tracked')})
    found = state.get('positional_embedding', state.get('text.positional_embedding'))
    own = getattr(model, 'positional_embedding', None)
    own = getattr(model.text, 'positional_embedding', None) if own is None else own
    if found is not None and own is not None and len(found) != len(own):
        raise ValueError(f'text_cfg.context_length gives texts {len(own)} places, and they have {len(found)}')


def _check_answers(vlm: VLM, trained: bool) -> None:
    """Check the numbers that make presence of cosines, which no embedding depends on.

    Args:
        vlm: a model of open_clip.
        trained: whether it has weights, in which open_clip puts 0 for a bias that they lack.

    Raises:
        ValueError: if one is no finite number, or the bias is lacking.
    """
    scale, bias = vlm.logit_scale.exp(), getattr(vlm, 'logit_bias', None)
    if not (scale.isfinite() & (scale > 0)).all():
        raise ValueError(f'logit_scale={vlm.logit_scale.item()} is not the logarithm of a number above 0')
    if bias is not None and not (bias.isfinite() & (bias != 0 if trained else True)).all():
        raise ValueError(f'logit_bias={bias.item()} is lacking, or no finite number, and presence needs it')


def _load_blip(model: str, source: WeightsSource, allow_random: bool) -> tuple[BlipVLM, BlipTokenizer]:
    from mmpretrain.utils import dependency

    if not dependency.WITH_MULTIMODAL:
        raise ImportError(f"model={model!r} needs what `pip install 'lfi[multimodal]'` brings")
    from mmpretrain import ModelHub, get_model
    from mmpretrain.models.multimodal import BlipRetrieval

    if source.tag is not None or source.stated:
        raise ValueError(
            f"pretrained must be None for {model}, and weights_file a path: open_clip's tags are not for it, "
            'and its config says its mean and std'
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
        # A vocabulary that is not at hand ends in any of these.
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
    """Refuse another model of mmpretrain before it is built: some fetch weights, and run code beside them."""
    if kind != 'BlipRetrieval':
        raise ValueError(f'model={model!r} is a {kind}, not a BLIP for retrieval')


def _load_blip_weights(blip: nn.Module, model: str, path: Path) -> None:
    read = ('vision_backbone', 'vision_neck', 'text_backbone', 'text_neck', 'temp')
    try:
        if path.suffix == '.safetensors':
            state: dict[str, Any] = load_file(path)
        else:
            state = torch.load(path, map_location='cpu', weights_only=True)
        state = state.get('state_dict', state)
        state = {name: value for name, value in state.items() if name.split('.')[0] in read}
        missing = blip.load_state_dict(state, strict=False).missing_keys
    except Exception as error:
        raise _explain(error, model, path) from error
    # Position ids are counted, not learnt.
    missing = [name for name in missing if name.split('.')[0] in read and 'position_ids' not in name]
    if missing:
        raise _explain(ValueError(f'they lack {missing}'), model, path)


def find_folder(model: str) -> Path | None:
    """The folder that a model's name stands for; None for the name of a model.

    Raises:
        FileNotFoundError: if there is no such folder, or it lacks its config or weights.
        ValueError: as `find_config_folder` says.
    """
    path = find_config_folder(model)
    if path is not None and not any(f.suffix in ('.safetensors', '.bin', '.pth') for f in path.iterdir()):
        raise FileNotFoundError(f'teacher folder {path} has no weights (*.safetensors, *.bin or *.pth)')
    return path


def find_config_folder(model: str) -> Path | None:
    """As `find_folder`, whether or not the folder has weights.

    Raises:
        FileNotFoundError: if there is no such folder, or it lacks its config.
        ValueError: for the name of a repository on a hub; or as `refuse_pipes` says.
    """
    if model.startswith(HUB):
        name = model.removeprefix(HUB)
        raise ValueError(
            f'model={model!r} is a repository: fetch it by `hf download {name} --local-dir FOLDER` and give '
            "the folder, or give open_clip's own name and tag, which lfi teachers lists"
        )
    path = Path(model.removeprefix('local-dir:'))
    if len(Path(model).parts) == 1 and (BUILT_IN / model).is_dir():
        path = BUILT_IN / model
    elif not _is_path(model):
        return None
    if not path.is_dir():
        raise FileNotFoundError(
            f'teacher folder not found: {path}. In our configs LFI_TEACHER_ROOT says where teachers lie'
        )
    if not (path / FILE).is_file():
        message = f'teacher folder {path} has no {FILE}'
        if (path / 'config.json').is_file():
            message = f'{message}; it has a config.json of transformers: {OF_TRANSFORMERS}'
        raise FileNotFoundError(message)
    refuse_pipes(path)
    return path


def _is_path(model: str) -> bool:
    """Whether a model is given by its place.

    A name alone is never looked up in the working directory: someone else's student names its teacher so.
    """
    return model.startswith('local-dir:') or model in ('.', '..') or bool({'/', os.sep} & {*model})


def check_name(model: str) -> None:
    """Check that open_clip knows a model by name.

    Raises:
        ValueError: if it does not; the message says which are near it.
    """
    if model not in open_clip.list_models():
        if Path(model).is_dir():
            raise ValueError(
                f'model={model!r} is not a model of open_clip.list_models(), and a folder of this name is '
                f"read where it is given as a path alone: model='./{model}'"
            )
        built_in = sorted(path.parent.name for path in BUILT_IN.glob(f'*/{FILE}'))
        near = get_close_matches(model, [*open_clip.list_models(), *built_in], n=3, cutoff=0.4)
        raise ValueError(
            f'model={model!r} is neither a folder nor a model of open_clip.list_models(); '
            f'{near_it(near)}; LFI has {", ".join(built_in)}; a folder is given by its path'
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


def _explain(error: Exception, model: str, weights: Path | str | None) -> Exception:
    if isinstance(weights, str):
        return RuntimeError(
            f'the weights {weights!r} of {model} could not be fetched: {error}. On a machine without '
            'network, fetch them elsewhere and give the file as weights_file, beside pretrained'
        )
    if 'TorchScript' in str(error):
        return ValueError(
            f'the weights in {weights} are a TorchScript archive, as OpenAI publishes CLIP: it holds code, '
            "and is not read. Take the file that open_clip fetches for the tag, or save the archive's "
            'state_dict as safetensors'
        )
    return ValueError(f'the weights in {weights} do not fit the model {model}, or are corrupted: {error}')


def _quietly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # open_clip reports each step of the creation through the root logger.
    with changed(logging.root.manager, 'disable', logging.ERROR):
        return function(*args, **kwargs)
