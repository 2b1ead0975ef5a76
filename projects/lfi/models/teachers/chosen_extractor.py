"""Which extractor a teacher's config asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .families import family_of
from .generative_folder import GENERATIVE
from .model_config import open_clip_config
from .weights import BLIP

AUTO = 'auto'
OF_PREFIX = {BLIP: 'blip', GENERATIVE: 'generative'}
"""What 'auto' takes for a model of another project, by how the model's name begins."""
OF_OWN = 'own-locations'
"""What 'auto' takes for a dual encoder of one's own."""


def chosen_extractor(extractor: Any, model: str | Mapping[str, Any] | None) -> Any:
    """The config of the extractor that a teacher's argument asks for.

    Args:
        extractor: `dict(type=..., ...)`, the name of an extractor alone, or 'auto' in either place: the one
            for the family of the model (`family_of`).
        model: of the teacher, as `load_vlm` takes it; None for a teacher without one.

    Returns:
        `dict(type=..., ...)`. What is neither name nor dict is returned as it is, for `type_of` to refuse.

    Raises:
        FileNotFoundError: for 'auto', if the model's folder or its config is missing.
        ValueError: for 'auto', if no extractor fits the model, the model is unknown, or options are given.
    """
    config = dict(type=extractor) if isinstance(extractor, str) else extractor
    if not isinstance(config, dict) or config.get('type') != AUTO:
        return config
    options = sorted(set(config) - {'type'})
    if options:
        raise ValueError(f"extractor 'auto' takes no options, got {options}: name the extractor they are of")
    if model is None:
        raise ValueError("extractor 'auto' needs a teacher with a model: name an extractor")
    return dict(type=_automatic(model))


def _automatic(model: str | Mapping[str, Any]) -> str:
    if isinstance(model, Mapping):
        return OF_OWN
    of_prefix = (name for prefix, name in OF_PREFIX.items() if model.startswith(prefix))
    return next(of_prefix, None) or _of_open_clip(model)


def _of_open_clip(model: str) -> str:
    try:
        family = family_of(open_clip_config(model))
    except (KeyError, TypeError) as error:
        raise ValueError(f'model={model!r} has no config of an open_clip model: {error!r}') from error
    if not family.extractors:
        raise ValueError(
            f"extractor 'auto' finds none that fits model={model!r} ({family.name}): docs/teachers.md lists "
            'the families that can be read, and how to write an extractor of your own'
        )
    return family.extractors[0]
