"""LFI: learning from interactions, a distillation plugin for OpenMMLab.

The import makes `lfi.X` known to every OpenMMLab registry, and changes nothing that other packages define. It
imports neither torch nor mmcv, mmdet or mmpretrain, reads no weights and needs no network.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

try:
    if find_spec('mmcv') is None:
        raise ModuleNotFoundError(name='mmcv')
    from mmengine.config.utils import MODULE2PACKAGE
    from mmengine.utils import is_installed
except ImportError as error:
    raise ImportError(
        f'LFI needs an OpenMMLab stack, and {error.name!r} is not installed. Install one of the two:\n'
        "    pip install 'lfi[onedl]'      # the maintained onedl-* packages (recommended)\n"
        "    pip install 'lfi[openmmlab]'  # upstream mmengine, mmcv, mmpretrain, mmdet\n"
        "In a clone of LFI: pip install -e '.[onedl]'. Never install both into one environment."
    ) from error

from . import ops, registry
from .config_files import config_dict, config_path, teacher_config
from .utils.lazy_names import lazy_names
from .version import __version__

# mmengine resolves `_base_ = 'lfi::...'` only for packages in this table. Upstream mmengine finds an editable
# install only by the name of a module, not by that of the package.
MODULE2PACKAGE['lfi'] = 'lfi.version'
if find_spec('mmseg') is not None and not is_installed('mmsegmentation'):
    # mmengine looks for mmsegmentation; onedl-mmsegmentation is found by the name of its module.
    MODULE2PACKAGE['mmseg'] = 'mmseg'
# mmdet's models need mmcv's compiled ops. An mmcv without these gets replacements.
ops.install()

if TYPE_CHECKING:
    from .apis.asking import ask
    from .apis.image_answers import ImageAnswer, ImageAnswers
    from .apis.initializing import init
    from .apis.loaded_model import Model, load
    from .apis.training import cache, pretrain, train
    from .engine.checkpoints.reading import install_safe_checkpoint_loading
    from .export.vit_conversion import convert_vit_checkpoint
    from .hub.loading import from_pretrained
    from .hub.pushing import push_to_hub
    from .hub.saving import save_pretrained

# Imported on first access: these names need torch.
__getattr__, _ = lazy_names(
    __name__,
    {
        'apis.asking': ('ask',),
        'apis.image_answers': ('ImageAnswer', 'ImageAnswers'),
        'apis.initializing': ('init',),
        'apis.loaded_model': ('Model', 'load'),
        'apis.training': ('cache', 'pretrain', 'train'),
        'engine.checkpoints.reading': ('install_safe_checkpoint_loading',),
        'export.vit_conversion': ('convert_vit_checkpoint',),
        'hub.loading': ('from_pretrained',),
        'hub.pushing': ('push_to_hub',),
        'hub.saving': ('save_pretrained',),
    },
)

__all__ = [
    'ImageAnswer',
    'ImageAnswers',
    'Model',
    '__version__',
    'ask',
    'cache',
    'config_dict',
    'config_path',
    'convert_vit_checkpoint',
    'from_pretrained',
    'init',
    'install_safe_checkpoint_loading',
    'load',
    'pretrain',
    'push_to_hub',
    'registry',
    'save_pretrained',
    'teacher_config',
    'train',
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
