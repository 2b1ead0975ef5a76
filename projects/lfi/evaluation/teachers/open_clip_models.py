"""Teachers with open_clip weights: list them, and check that extractors can read them."""

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
    """Return the tags of pretrained weights by model, for a part of a family's name and a glob of models."""
    tags: dict[str, list[str]] = {}
    for name, tag in open_clip.list_pretrained():
        config = open_clip.get_model_config(name)
        if model is not None and not fnmatchcase(name.lower(), model.lower()):
            continue
        if family is None or family.lower() in family_of(config).name.lower():
            tags.setdefault(name, []).append(tag)
    if not tags:
        families = {
            family_of(open_clip.get_model_config(name)).name for name, _ in open_clip.list_pretrained()
        }
        raise UsageError(
            f'no model of open_clip fits family={family!r} and model={model!r}; families: {sorted(families)}'
        )
    return tags


def describe(model: str, tag: str) -> list[str]:
    """Return the cells of the table row of a tag."""
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
    """Return the columns and the rows of a table of models.

    Args:
        tags: tags of pretrained weights by model name.
        with_parameters: whether to count the parameters of the image towers, about a second for each model.
    """
    rows = [describe(model, tag) for model in tags for tag in tags[model]]
    if not with_parameters:
        return COLUMNS, rows
    counts = {model: f'{count_parameters(model):.1f}' for model in tqdm(tags, unit=' models')}
    return (*COLUMNS, PARAMETERS), [[*row, counts[row[0]]] for row in rows]


def build_visual(config: Mapping[str, Any]) -> nn.Module:
    """Build the image tower of a model with random weights."""
    vision = dict(config['vision_cfg'], timm_model_pretrained=False)
    return _build_vision_tower(config['embed_dim'], vision, config.get('quick_gelu', False))


def count_parameters(model: str) -> float:
    """Count the parameters of the image tower, in millions."""
    with torch.device('meta'):
        visual = build_visual(open_clip.get_model_config(model))
    return sum(parameter.numel() for parameter in visual.parameters()) / 1e6


def print_table(rows: list[list[str]], columns: tuple[str, ...], markdown: bool) -> None:
    """Print rows as a table, in Markdown or in aligned columns."""
    if markdown:
        print(table(columns, rows))
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    for cells in (columns, *rows):
        print('  '.join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())


def build_shallow_visual(config: dict[str, Any]) -> nn.Module:
    """Build the image tower of a transformer with random weights and `FEW_BLOCKS` blocks."""
    vision = config['vision_cfg']
    if not vision.get('timm_model_name'):
        vision['layers'] = FEW_BLOCKS
        return build_visual(config)
    # open_clip has no argument for the depth of timm's models.
    with mock.patch.object(timm, 'create_model', partial(timm.create_model, depth=FEW_BLOCKS)):
        return build_visual(config)


def build_random_model(config: dict[str, Any], family: Family) -> tuple[Any, Tokenizer | None, ConceptBank]:
    """Build a model with random weights, a tokenizer and a concept bank.

    Families other than CoCa need files from a hub for text tower and tokenizer. They get random text
    embeddings.
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
        # open_clip leaves this parameter uninitialised.
        nn.init.normal_(vlm.text_decoder.text_projection)
        visual = vlm.visual
    else:
        visual = build_shallow_visual(config) if 'gem' in family.extractors else build_visual(config)
        vlm = SimpleNamespace(visual=visual, parameters=visual.parameters, encode_image=visual)
    for parameter in visual.parameters():
        # At their initial values of 0 or 1, a bias, norm or scale that an extractor forgets has no effect.
        if parameter.squeeze().ndim <= 1:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    (vlm if isinstance(vlm, nn.Module) else visual).eval().requires_grad_(False)
    visual.preprocess_cfg = dict(size=visual.image_size)
    return vlm, tokenizer, bank


@torch.no_grad()
def check(model: str) -> list[str]:
    """Run all extractors that fit a model and need no gradients, and return their names.

    Raises:
        ValueError: if no extractor fits, or one misreads the model or gives no maps.
    """
    config = open_clip.get_model_config(model)
    family = family_of(config)
    names = [name for name in family.extractors if name != BY_GRADIENTS]
    if not names:
        raise ValueError('no extractor fits')
    vlm, tokenizer, bank = build_random_model(config, family)
    embedding_check = EmbeddingCheck(vlm)
    fold_batch_norms(vlm.visual)
    if family.name != 'CoCa' and tower_of(vlm.visual).pool != family.pool:
        raise ValueError(f'the pool is not {family.pool}')
    for name in names:
        options = dict(depth=FEW_BLOCKS) if name == 'gem' else {}
        extractor = EXTRACTORS.get(name).from_vlm(vlm, tokenizer, bank, **options)
        embedding_check(extractor, bank.embeddings, model)
        maps, _ = extractor(embedding_check.image, bank.embeddings)
        # Maps must differ between concepts and between locations.
        constant = maps.std((-2, -1)).min() == 0 or maps.std(2).max() == 0
        if not maps.isfinite().all() or constant:
            raise ValueError(f'the maps of {name} are not finite, or equal for all concepts or locations')
    return names


def check_all(tags: Mapping[str, list[str]]) -> int:
    """Check models in turn and print the results; return the number of tags that pass."""
    passed: Counter[str] = Counter()
    for model in tqdm(tags, unit=' architectures'):
        try:
            names = check(model)
        except Exception as error:  # Report any error, then check the next model.
            tqdm.write(f'{model}: failed: {type(error).__name__}: {error}')
        else:
            tqdm.write(f'{model}: ok ({", ".join(names)})')
            passed[model] = len(tags[model])
        gc.collect()
    return passed.total()
