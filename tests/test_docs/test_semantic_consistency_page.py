"""What docs/semantic_consistency.md shows works as it stands there."""

import re
from pathlib import Path

from lfi.registry import HOOKS, METRICS
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / 'docs/semantic_consistency.md').read_text()


def test_its_commands_name_configs_that_are_there():
    named = re.findall(r'configs/\S+\.py', TEXT)
    assert named
    for config in named:
        assert (ROOT / config).is_file(), config


def test_its_config_builds(tmp_path):
    (code,) = re.findall(r'```python\n(.*?)```', TEXT, re.S)
    base = ROOT / 'configs/classification/lfi_vit-128x6-p8_shapes.py'
    (tmp_path / 'my_lfi_classifier.py').write_text(f'_base_ = {str(base)!r}\n')
    (tmp_path / 'measured.py').write_text(code)
    cfg = Config.fromfile(tmp_path / 'measured.py')
    init_default_scope(cfg.default_scope)
    pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
    assert [type(step).__name__ for step in pipeline] == ['LoadImageFromFile', 'LoadRegions', 'PackInputs']
    accuracy, consistency = (METRICS.build(metric) for metric in cfg.test_evaluator)
    assert (accuracy.prefix, consistency.prefix) == ('accuracy', 'semantic')
    assert HOOKS.build(cfg.default_hooks.interactions)
