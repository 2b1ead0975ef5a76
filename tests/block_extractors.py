"""The extractors that read the blocks of a transformer, as the registry has them."""

from functools import partial

import lfi.models.teachers.extractors  # noqa: F401
from lfi.models.teachers.extractors.transformer import TransformerExtractor
from lfi.registry import EXTRACTORS

# Small towers have three blocks.
OPTIONS = {'gem': dict(depth=2)}
READ_BLOCKS = {
    name: partial(kind, **OPTIONS.get(name, {}))
    for name, kind in sorted(EXTRACTORS.module_dict.items())
    if issubclass(kind, TransformerExtractor) and kind.__module__.startswith('lfi.')
}
