from lfi.datasets import unaugmented
from mmengine.config import ConfigDict

LOAD = dict(type='LoadImageFromFile')
ANNOTATIONS = dict(type='mmdet.LoadAnnotations', with_mask=True)
CROP = dict(type='RandomResizedCrop', scale=8)


def data_set(pipeline):
    return dict(type='A', pipeline=pipeline)


def test_only_loading_and_packing_stay_also_of_data_sets_inside():
    record = dict(type='lfi.RecordView', transforms=[ANNOTATIONS, CROP])
    pack = dict(type='PackInputs', algorithm_keys=('view', 'gt_concepts'))
    inner = data_set([LOAD, record, pack])
    config = ConfigDict(type='RepeatDataset', times=2, dataset=inner, others=[inner])
    steps = [LOAD, ANNOTATIONS, dict(type='PackInputs', algorithm_keys=['gt_concepts'])]
    assert unaugmented(config) == dict(
        type='RepeatDataset', times=2, dataset=data_set(steps), others=[data_set(steps)]
    )
    assert config.dataset.pipeline[1].transforms[1].type == 'RandomResizedCrop'
    assert unaugmented(config, steps=('Load',)).dataset.pipeline == steps[:2]


def test_steps_are_found_at_any_depth():
    apply = dict(type='RandomApply', transforms=dict(type='ColorJitter'), prob=0.5)
    choose = dict(type='RandomChoice', transforms=[[CROP], [dict(type='Compose', transforms=[ANNOTATIONS])]])
    assert unaugmented(ConfigDict(data_set([LOAD, apply, choose]))).pipeline == [LOAD, ANNOTATIONS]


def test_steps_inside_one_that_reads_regions_move_nothing():
    regions = dict(type='lfi.LoadRegions', transforms=[CROP])
    record = dict(type='lfi.RecordView', transforms=[CROP])
    pipeline = [LOAD, regions, record, dict(type='lfi.LoadInteractionMaps')]
    assert unaugmented(ConfigDict(data_set(pipeline)), steps=('Load',)).pipeline == [LOAD]
