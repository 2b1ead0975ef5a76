"""LFI's child registries: `lfi.X` resolves from every OpenMMLab scope."""

from importlib import import_module

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import STRATEGIES as MMENGINE_STRATEGIES
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import WEIGHT_INITIALIZERS as MMENGINE_WEIGHT_INITIALIZERS
from mmengine.registry import Registry

# Models of projects that need not be installed, and where they are: imported when they are asked for.
TASK_MODELS = {'LFIMaskRCNN': 'lfi.models.detectors', 'LFIEncoderDecoder': 'lfi.models.segmentors'}


class ModelRegistry(Registry):
    """A registry that imports a task's models when one of them is asked for by name."""

    def get(self, key: str) -> type | None:
        """As `Registry.get`."""
        module = TASK_MODELS.get(key.split('.')[-1])
        if module is not None:
            import_module(module)
        return super().get(key)


MODELS = ModelRegistry('model', parent=MMENGINE_MODELS, scope='lfi', locations=['lfi.models'])
# Ways to take interaction maps out of a VLM, by short name: `maskclip`, `clearclip`, ...
EXTRACTORS = Registry('extractor', scope='lfi', locations=['lfi.models.teachers.extractors'])
DATASETS = Registry(
    'dataset', parent=MMENGINE_DATASETS, scope='lfi', locations=['lfi.datasets', 'lfi.concepts']
)
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='lfi', locations=['lfi.datasets'])
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='lfi',
    locations=['lfi.concepts', 'lfi.engine', 'lfi.evaluation', 'lfi.visualization'],
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='lfi',
    # Not the whole of lfi.engine: it must not import mmpretrain when `lfi` is imported.
    locations=['lfi.engine.layer_decay'],
)
STRATEGIES = Registry(
    'strategy', parent=MMENGINE_STRATEGIES, scope='lfi', locations=['lfi.engine.fsdp_strategy']
)
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='lfi', locations=['lfi.evaluation'])
WEIGHT_INITIALIZERS = Registry(
    'weight initializer',
    parent=MMENGINE_WEIGHT_INITIALIZERS,
    scope='lfi',
    locations=['lfi.models.backbones'],
)
