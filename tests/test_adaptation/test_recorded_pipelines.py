"""Pipelines are rewritten so that a cache can follow them."""

import pytest
from lfi.adaptation.pipelines import (
    UnknownViewError,
    apply_changes,
    full_pipeline,
    pipeline_changes,
    record_views,
    unlabelled_pipeline,
    without_padding,
)
from lfi.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

pytestmark = pytest.mark.usefixtures('mmpretrain_scope')

LOAD, FLIP, PACK = (dict(type=name) for name in ('LoadImageFromFile', 'RandomFlip', 'PackInputs'))
FLIP['prob'] = 0.5
COLOURS = dict(type='ColorJitter', brightness=0.2)
CROP = dict(type='RandomResizedCrop', scale=32)
READ = dict(type='lfi.LoadInteractionMaps')
KEYS = dict(algorithm_keys=('view', 'interaction_maps'))


def view(*steps):
    return dict(type='lfi.RecordView', transforms=list(steps))


def test_what_moves_pixels_is_recorded_and_the_maps_are_packed():
    steps = record_views([LOAD, COLOURS, CROP, COLOURS, FLIP, COLOURS, PACK], 'mmpretrain')
    assert steps == [LOAD, COLOURS, view(CROP, COLOURS, FLIP), COLOURS, READ, {**PACK, **KEYS}]
    # It is as it should be.
    assert record_views(steps, 'mmpretrain') == steps
    own = record_views([LOAD, dict(PACK, algorithm_keys=('mask',))], 'mmpretrain')
    assert own[-1]['algorithm_keys'] == ('mask', 'view', 'interaction_maps')


def test_each_side_of_a_step_that_mixes_has_a_record_of_its_own():
    pack = dict(type='PackDetInputs', meta_keys=('img_id',))
    resize, mosaic = dict(type='Resize', scale=(64, 64)), dict(type='Mosaic', img_scale=(64, 64))
    steps = record_views([LOAD, resize, mosaic, FLIP, pack], 'mmdet')
    assert steps[1:4] == [view(resize), dict(mosaic, type='lfi.RecordedMosaic'), view(FLIP)]
    assert steps[-1]['meta_keys'] == ('img_id', 'view', 'interaction_maps')
    assert unlabelled_pipeline(steps) == [steps[0], view(resize), view(FLIP), READ, steps[-1]]


def test_a_step_that_nobody_knows_is_named(monkeypatch):
    class Melt(BaseTransform):
        def transform(self, results):
            return results

    monkeypatch.setitem(TRANSFORMS.parent._module_dict, 'Melt', Melt)
    with pytest.raises(UnknownViewError, match='^RecordView cannot follow Melt: '):
        record_views([LOAD, FLIP, dict(type='Melt'), PACK], 'mmpretrain')
    with pytest.raises(UnknownViewError, match='PackMultiTaskInputs packs neither'):
        record_views([LOAD, FLIP, dict(type='PackMultiTaskInputs')], 'mmpretrain')


def test_images_without_labels_are_loaded_and_not_annotated():
    steps = [dict(type='LoadAnnotations', with_bbox=True), FLIP, dict(type='FilterAnnotations'), PACK]
    assert unlabelled_pipeline(steps) == [LOAD, FLIP, PACK]
    assert without_padding([LOAD, dict(type='Pad', size=(8, 8)), PACK]) == [LOAD, PACK]


def test_data_sets_inside_others_are_reached():
    pad = dict(type='Pad', size_divisor=32)
    plain, padded = dict(type='A', pipeline=[LOAD, PACK]), dict(type='A', pipeline=[LOAD, pad, PACK])
    assert pipeline_changes(dict(type='RepeatDataset', times=2, dataset=plain), without_padding) == {}
    repeated = dict(type='RepeatDataset', times=2, dataset=padded)
    assert pipeline_changes(repeated, without_padding) == dict(dataset=dict(pipeline=[LOAD, PACK]))
    joined = dict(type='ConcatDataset', datasets=[plain, padded])
    changes = pipeline_changes(joined, without_padding)
    # A list is written anew.
    assert changes == dict(datasets=[plain, plain])
    assert apply_changes(repeated, pipeline_changes(repeated, without_padding)) == dict(
        repeated, dataset=plain
    )
    mixed = dict(type='MultiImageMixDataset', dataset=dict(type='A', pipeline=[LOAD]), pipeline=[FLIP, PACK])
    assert full_pipeline(mixed) == [LOAD, FLIP, PACK]
