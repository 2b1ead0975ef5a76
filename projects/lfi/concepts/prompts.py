"""Prompt templates by name."""

from __future__ import annotations

from collections.abc import Sequence

ENSEMBLES = {'openai': 'OPENAI_IMAGENET_TEMPLATES', 'simple': 'SIMPLE_IMAGENET_TEMPLATES'}
"""open_clip's: the 80 templates of CLIP's authors for ImageNet, and the 7 best of them."""


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates, if there are any, each with `{}` for the concept; else a ValueError that shows them."""
    if not templates or not all(isinstance(template, str) and '{}' in template for template in templates):
        raise ValueError(f'templates must be strings with {{}} for the concept, got {list(templates)}')
    return tuple(templates)


def prompt_templates(templates: Sequence[str] | str) -> tuple[str, ...]:
    """Templates with `{}` for the concept.

    Args:
        templates: the templates themselves, or the name of an ensemble in `ENSEMBLES`.

    Returns:
        The templates.

    Raises:
        ValueError: if there is no ensemble of that name, or a template has no `{}`.
    """
    if not isinstance(templates, str):
        return check_templates(templates)
    if templates not in ENSEMBLES:
        raise ValueError(
            f'templates={templates!r} is unknown; choose from {sorted(ENSEMBLES)}, or give a list of '
            'prompts with {} for the concept'
        )
    # Data sets import this module, and no model.
    import open_clip

    return tuple(template('{}') for template in getattr(open_clip, ENSEMBLES[templates]))
