"""Students and caches as folders, and on the Hugging Face Hub.

It imports `apis`, `engine`, models and `student_folder`.
"""

from lfi.utils.lazy_names import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        'loading': ('from_pretrained',),
        'pushing': ('push_to_hub',),
        'saving': ('save_pretrained',),
    },
)
