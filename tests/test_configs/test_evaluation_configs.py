"""Every config of evaluation adds to an LFI config what tools/test.py measures, and changes nothing else."""

import re

import pytest
from lfi.registry import DATASETS, HOOKS, METRICS
from mmengine.registry import init_default_scope
from repository_configs import CONFIGS, EVALUATION, bases, header, read


def test_they_are_found():
    assert EVALUATION


@pytest.mark.parametrize('config', EVALUATION)
def test_it_is_an_lfi_config_with_more_to_measure(config, empty_root):
    assert re.search(rf'tools/test\.py +{re.escape(config)} CHECKPOINT', header(config))
    base = bases(config)[0]
    assert base in CONFIGS
    ours, theirs = read(config), read(base)
    for key in ours.keys() | theirs.keys():
        if key not in (
            'default_hooks',
            'test_pipeline',
            'test_dataloader',
            'test_evaluator',
        ):
            assert ours.get(key) == theirs.get(key), key
    assert 'lfi' in ours.custom_imports.imports
    assert ours.test_evaluator[:-1] == [theirs.test_evaluator]
    assert METRICS.build(ours.test_evaluator[-1]).default_prefix == 'semantic'
    added = {name: hook for name, hook in ours.default_hooks.items() if name not in theirs.default_hooks}
    assert list(added) == ['interactions']
    assert HOOKS.build(added['interactions'])
    data, plain = ours.test_dataloader.dataset, theirs.test_dataloader.dataset
    assert {**data, 'pipeline': None} == {**plain, 'pipeline': None}
    # The images are prepared as before.
    assert _types(data.pipeline) - {'lfi.LoadRegions'} == _types(plain.pipeline)


@pytest.mark.parametrize('config', [config for config in EVALUATION if 'shapes' in config])
def test_samples_of_shapes_carry_their_regions(config):
    cfg = read(config)
    init_default_scope(cfg.default_scope)
    packed = DATASETS.build(dict(cfg.test_dataloader.dataset, num_images=3))[1]
    sample = packed['data_samples']
    assert sample.regions
    for region in sample.regions.values():
        assert region.shape == tuple(packed['inputs'].shape[1:]) == tuple(sample.img_shape)


def test_samples_of_tiny_imagenet_carry_their_box(small_data):
    cfg = read('configs/evaluation/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet_semantic-consistency.py')
    init_default_scope(cfg.default_scope)
    sample = DATASETS.build(cfg.test_dataloader.dataset)[2]['data_samples']
    ((label, region),) = sample.regions.items()
    assert label == sample.gt_label.item()
    # From 0 to the end of pixel 9.
    assert region[:10, :10].all() and region.sum() == 100


def test_samples_of_coco_carry_their_masks_as_the_image_is_resized(data_root, monkeypatch):
    monkeypatch.setenv('LFI_DATA_ROOT', str(data_root('coco').parent))
    cfg = read('configs/evaluation/lfi_mask-rcnn_vit-tiny-p16_lit-lite0_320px_coco_semantic-consistency.py')
    init_default_scope(cfg.default_scope)
    packed = DATASETS.build(dict(cfg.test_dataloader.dataset, indices=4))[3]
    sample = packed['data_samples']
    assert set(sample.regions) == set(sample.gt_instances.labels.tolist())
    for label, region in sample.regions.items():
        assert region.shape == tuple(packed['inputs'].shape[1:])
        objects = sample.gt_instances[sample.gt_instances.labels == label]
        # mmdet's own resized masks, up to their edges.
        resized = objects.masks.to_ndarray().any(0)
        assert (resized & region).sum() / (resized | region).sum() > 0.8


def _types(pipeline):
    inner = [step for outer in pipeline for step in (outer, *outer.get('transforms', ()))]
    return {step['type'] for step in inner}
