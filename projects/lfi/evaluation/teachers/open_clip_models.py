"""The teachers that open_clip has weights of, and a check that all of them can be read."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import open_clip
import timm
import torch
from open_clip.model import _build_vision_tower
from torch import nn
from tqdm import tqdm

from lfi.concepts import ConceptBank
from lfi.errors import UsageError
from lfi.models.teachers.batch_norms import fold_batch_norms
from lfi.models.teachers.embedding_check import EmbeddingCheck
from lfi.models.teachers.families import Family, family_of
from lfi.models.teachers.loading.tokenizers import tokenizer_on_hub
from lfi.models.teachers.towers import tower_of
from lfi.models.teachers.vlm import Tokenizer
from lfi.registry import EXTRACTORS
from lfi.utils.markdown import table

COLUMNS = ('model', 'tag', 'family', 'extractors', 'text width', 'input px', 'tokenizer from a hub')
PARAMETERS = 'image tower, M parameters'
BY_GRADIENTS = 'legrad'
FEW_BLOCKS = 2
NAMES = ('a cat', 'a dog', 'a ring')


def tags_by_model(family: str | None, model: str | None) -> dict[str, list[str]]:
    """The tags of the models that are asked for."""
    found: dict[str, list[str]] = {}
    for name, tag in open_clip.list_pretrained():
        config = open_clip.get_model_config(name)
        if model is not None and not fnmatchcase(name.lower(), model.lower()):
            continue
        if family is None or family.lower() in family_of(config).name.lower():
            found.setdefault(name, []).append(tag)
    if not found:
        families = {
            family_of(open_clip.get_model_config(name)).name for name, _ in open_clip.list_pretrained()
        }
        raise UsageError(
            f'no model of open_clip fits family={family!r} and model={model!r}; families: {sorted(families)}'
        )
    return found


def describe(model: str, tag: str) -> list[str]:
    """The cells of a tag's row."""
    config = open_clip.get_model_config(model)
    family, text = family_of(config), config['text_cfg']
    size = config['vision_cfg'].get('image_size', 224)
    return [
        model,
        tag,
        family.name,
        ', '.join(family.extractors),
        str(config['embed_dim']),
        str(size) if isinstance(size, int) else ' x '.join(map(str, size)),
        tokenizer_on_hub(text) or '',
    ]


def describe_all(
    tags: Mapping[str, list[str]], with_parameters: bool
) -> tuple[tuple[str, ...], list[list[str]]]:
    """The columns and the rows of a table of models.

    Args:
        tags: of the models, by model.
        with_parameters: whether the image towers' parameters are counted, which takes a second a model.
    """
    rows = [describe(model, tag) for model in tags for tag in tags[model]]
    if not with_parameters:
        return COLUMNS, rows
    counts = {model: f'{parameters(model):.1f}' for model in tqdm(tags, unit=' models')}
    return (*COLUMNS, PARAMETERS), [[*row, counts[row[0]]] for row in rows]


def build_visual(config: Mapping[str, Any]) -> nn.Module:
    """The image tower of a model's config, with random weights."""
    vision = dict(config['vision_cfg'], timm_model_pretrained=False)
    return _build_vision_tower(config['embed_dim'], vision, config.get('quick_gelu', False))


def parameters(model: str) -> float:
    """How many millions of parameters the image tower has."""
    with torch.device('meta'):
        visual = build_visual(open_clip.get_model_config(model))
    return sum(parameter.numel() for parameter in visual.parameters()) / 1e6


def show(rows: list[list[str]], columns: tuple[str, ...], markdown: bool) -> None:
    """Print rows as a table."""
    if markdown:
        print(table(columns, rows))
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    for cells in (columns, *rows):
        print('  '.join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())


def shortened(config: dict[str, Any]) -> nn.Module:
    """The image tower of a transformer's config, with random weights and few blocks."""
    vision = config['vision_cfg']
    if not vision.get('timm_model_name'):
        vision['layers'] = FEW_BLOCKS
        return build_visual(config)
    # open_clip has no argument for the depth of timm's models.
    with mock.patch.object(timm, 'create_model', partial(timm.create_model, depth=FEW_BLOCKS)):
        return build_visual(config)


def random_model(config: dict[str, Any], family: Family) -> tuple[Any, Tokenizer | None, ConceptBank]:
    """A model with random weights, its tokenizer and what it is asked about.

    Of all but CoCa it is the image tower alone, with texts that stand at random: other text towers and
    tokenizers need files from a hub.
    """
    torch.manual_seed(0)
    width = config['embed_dim']
    texts = nn.functional.normalize(torch.randn(len(NAMES), width), dim=-1)
    bank = ConceptBank(NAMES, ('{}',), texts, 0)
    tokenizer = None
    if 'multimodal_cfg' in config:
        for part in ('vision_cfg', 'text_cfg', 'multimodal_cfg'):
            config[part]['layers'] = FEW_BLOCKS
        tokenizer = open_clip.SimpleTokenizer(context_length=config['text_cfg']['context_length'])
        vlm = open_clip.CoCa(**{key: value for key, value in config.items() if key != 'custom_text'})
        # open_clip leaves it uninitialised.
        nn.init.normal_(vlm.text_decoder.text_projection)
        visual = vlm.visual
    else:
        visual = shortened(config) if 'gem' in family.extractors else build_visual(config)
        vlm = SimpleNamespace(visual=visual, parameters=visual.parameters, encode_image=visual)
    for parameter in visual.parameters():
        # Biases, norms and scales start at 0 and 1, or near 0, which would hide a forgotten one.
        if parameter.squeeze().ndim <= 1:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    (vlm if isinstance(vlm, nn.Module) else visual).eval().requires_grad_(False)
    visual.preprocess_cfg = dict(size=visual.image_size)
    return vlm, tokenizer, bank


@torch.no_grad()
def check(model: str) -> list[str]:
    """The extractors that fit a model and need no gradients, all of which have read maps with it.

    Raises:
        ValueError: if one of them does not fit, misreads the model or gives no maps.
    """
    config = open_clip.get_model_config(model)
    family = family_of(config)
    names = [name for name in family.extractors if name != BY_GRADIENTS]
    if not names:
        raise ValueError('no extractor fits')
    vlm, tokenizer, bank = random_model(config, family)
    embedding_check = EmbeddingCheck(vlm)
    fold_batch_norms(vlm.visual)
    if family.name != 'CoCa' and tower_of(vlm.visual).pool != family.pool:
        raise ValueError(f'its pool is no {family.pool}')
    for name in names:
        options = dict(depth=FEW_BLOCKS) if name == 'gem' else {}
        extractor = EXTRACTORS.get(name).from_vlm(vlm, tokenizer, bank, **options)
        embedding_check(extractor, bank.embeddings, model)
        maps, _ = extractor(embedding_check.image, bank.embeddings)
        # Each concept has a map of its own, and each map its places.
        alike = maps.std((-2, -1)).min() == 0 or maps.std(2).max() == 0
        if not maps.isfinite().all() or alike:
            raise ValueError(f'the maps of {name} are not finite, or all alike')
    return names


def check_all(tags: Mapping[str, list[str]]) -> int:
    """Check models one after the other, and print what was found; how many tags passed."""
    passed: Counter[str] = Counter()
    for model in tqdm(tags, unit=' architectures'):
        try:
            names = check(model)
        except Exception as error:  # Whatever goes wrong in a model is what is looked for.
            tqdm.write(f'{model}: failed: {type(error).__name__}: {error}')
        else:
            tqdm.write(f'{model}: ok ({", ".join(names)})')
            passed[model] = len(tags[model])
        gc.collect()
    return passed.total()
