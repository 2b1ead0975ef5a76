"""Teachers: vision-language models that are asked about concepts, and the cache of their answers.

`extractors/` reads interaction maps, `towers/` wraps image towers, `loading/` finds and loads models, and
`generative/` supports VLMs that write text. Teachers import `structures` and `concepts`, and no student.
"""

from .building import build_teacher, cache_kind
from .cached_teacher import (
    CachedFeatures,
    CachedOutputs,
    CachedTeacher,
    feature_identity,
    features_to_cache,
    maps_identity,
    maps_to_cache,
)

# Registers the built-in teacher's trunk in timm.
from .loading import shapes_trunk  # noqa: F401
from .model_config import text_dims_of
from .teacher import Teacher
from .teacher_identity import teacher_identity
from .vlm_attention_teacher import VLMAttentionTeacher

__all__ = [
    'CachedFeatures',
    'CachedOutputs',
    'CachedTeacher',
    'Teacher',
    'VLMAttentionTeacher',
    'build_teacher',
    'cache_kind',
    'feature_identity',
    'features_to_cache',
    'maps_identity',
    'maps_to_cache',
    'teacher_identity',
    'text_dims_of',
]
