"""A training step of a small student of a config, on images that the package draws."""

import sys
from pathlib import Path

from lfi.engine.cached_pipelines import set_teacher_cache
from lfi.engine.config_loading import load_config
from lfi.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import set_random_seed
from small_students import parts
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
from cached_batch import write_cache  # noqa: E402, F401

CLASSIFIER = 'classification/lfi_vit-128x6-p8_shapes.py'
DETECTOR = 'detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py'
FEW_CONCEPTS = {'teacher.max_concepts': 4}
"""Each image is asked about its own concepts, and the rest of the bank as one map."""


def learns(*names: str) -> dict[str, object]:
    """The options of a model by which it learns other parts of `PARTS` beside the prior."""
    read = {} if 'interactions' in names else {'readout': None}
    return {'supervision': {'_delete_': True, **parts(*names, 'prior')}, **read}


def small_config(config: str, **options: object) -> Config:
    """A config with two blocks and 64 images.

    Args:
        config: its path below `configs/`.
        **options: of the model that differ.
    """
    blocks = {'model.backbone.arch.num_layers': 2}
    cfg = load_config(
        str(ROOT / 'configs' / config), blocks | {f'model.{name}': value for name, value in options.items()}
    )
    init_default_scope(cfg.default_scope)
    set_teacher_cache(cfg)
    cfg.train_dataloader.dataset.num_images = 64
    if 'head' in cfg.model:
        # mmpretrain's LabelSmoothLoss asserts on the host that labels are in range.
        cfg.model.head.loss = dict(type='CrossEntropyLoss')
    return cfg


def small_step(config: str, **options: object) -> tuple[nn.Module, dict]:
    """The model of a config and a batch of four images as a loader gives it; arguments as `small_config`."""
    cfg = small_config(config, **options)
    # Of the weights, and of what the pipeline augments.
    set_random_seed(0)
    preprocessor = cfg.get('data_preprocessor')
    model = MODELS.build({'data_preprocessor': preprocessor, **cfg.model} if preprocessor else cfg.model)
    model.init_weights()
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    return model.train(), pseudo_collate([dataset[i] for i in range(4)])
