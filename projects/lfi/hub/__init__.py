"""Saving and loading of students and caches: folders and the Hugging Face Hub.

This package imports `engine`, `export`, `models` and `student_folder`.
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
