"""What took the place of types of earlier versions that configs name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

OLD_TYPES = {
    'CachedTeacher': 'set model.teacher_cache to its cache, and model.teacher to its teacher',
    'CaptionPhrases': 'use lfi.registry.VOCABULARIES in place of this registry',
    'ImageNetNames': 'use lfi.registry.VOCABULARIES in place of this registry',
    'LossWeightHook': 'it is gone, and weights of the loss stay as model.interaction_loss sets them',
    'MimeticInit': 'it is gone: model.affinity_prior (docs/method.md) takes its place',
    'VLMAttentionTeacher': 'use lfi.registry.TEACHERS in place of this registry',
}
"""Types that once were in a registry which does not hold them now, and what to do."""
OLD_ATTRIBUTES = {
    'lfi.datasets': {
        'CaptionPhrases': 'it is lfi.concepts.CaptionPhrases now',
        'ImageNetNames': 'it is lfi.concepts.ImageNetNames now',
    },
    'lfi.engine': {
        'ConceptCheckHook': 'it is lfi.concepts.ConceptCheckHook now',
        'LossWeightHook': OLD_TYPES['LossWeightHook'],
    },
    'lfi.models.backbones': {'MimeticInit': OLD_TYPES['MimeticInit']},
}
"""Types that a lazy config imported from a package which does not hold them now, and what to do."""


def old_names_of(package: str) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a package that says of its old types what to do in their place.

    Args:
        package: a key of `OLD_ATTRIBUTES`.

    Raises:
        ImportError: by the function that is returned, for an old type.
        AttributeError: by it, for any other.
    """
    old = OLD_ATTRIBUTES[package]

    def find(name: str) -> NoReturn:
        if name in old:
            raise ImportError(f'{package} has no {name} any more: {old[name]}')
        raise AttributeError(f'module {package!r} has no attribute {name!r}')

    return find
