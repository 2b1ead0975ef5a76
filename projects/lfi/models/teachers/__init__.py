"""Teachers: vision-language models that are asked about concepts, and the cache of their answers.

`extractors/` reads their maps, `towers/` their image towers; `loading/` finds them, and `generative/` has
those that write text. They import `structures` and `concepts`, and know no student.
"""

from .building import build_teacher, cache_kind
from .cached_teacher import CachedFeatures, CachedOutputs, CachedTeacher, feature_identity, features_to_cache

# Makes the built-in teacher's trunk known to timm.
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
    'teacher_identity',
    'text_dims_of',
]
