"""Prompt templates by name."""

from __future__ import annotations

from collections.abc import Sequence

import open_clip

TEMPLATES = {
    'openai': open_clip.OPENAI_IMAGENET_TEMPLATES,
    'simple': open_clip.SIMPLE_IMAGENET_TEMPLATES,
}
"""open_clip's ensembles: the 80 templates of CLIP's authors for ImageNet, and the 7 best of them."""


def prompt_templates(templates: Sequence[str] | str) -> tuple[str, ...]:
    """Templates with `{}` for the concept.

    Args:
        templates: the templates themselves, or the name of an ensemble in `TEMPLATES`.

    Raises:
        ValueError: if there is no ensemble of that name.
    """
    if not isinstance(templates, str):
        return tuple(templates)
    if templates not in TEMPLATES:
        raise ValueError(
            f'templates={templates!r} is unknown; choose from {sorted(TEMPLATES)}, or give a list of '
            'prompts with {} for the concept'
        )
    return tuple(template('{}') for template in TEMPLATES[templates])
