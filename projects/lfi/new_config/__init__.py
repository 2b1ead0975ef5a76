"""Configs for a data set: `lfi init` finds the format of the data and writes a student's config.

`initializing` has the whole flow. `reading` reads the formats, `tasks` has the config of each task, and
`writing` adds the student by `lfi.adaptation`. This package may import `adaptation`, `engine` and `models`.
"""

from .initializing import NewConfig, init_config, init_pretraining_config
from .labelled_image import FoundData, LabelledImage
from .reading import find_data
from .settings import Settings, typical_size
from .splitting import check_splits
from .writing import WrittenConfig, write_config

__all__ = [
    'check_splits',
    'FoundData',
    'LabelledImage',
    'NewConfig',
    'Settings',
    'WrittenConfig',
    'find_data',
    'init_config',
    'init_pretraining_config',
    'typical_size',
    'write_config',
]
