"""Steps that a model with a teacher cannot see through, and its cache."""

import mmpretrain.datasets
import pytest
from lfi.engine.cached_pipelines import set_teacher_cache
from lfi.engine.pipelines import check_pipelines, check_unrecorded_steps, hooks_of
from lfi.errors import UsageError
from mmcv.transforms import Pad
from mmengine.config import Config

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackInputs')
VIEW, READ = dict(type='lfi.RecordView', transforms=[]), dict(type='lfi.LoadInteractionMaps')
PACK_CACHED = dict(type='PackInputs', algorithm_keys=('view', 'interaction_maps'))


def config(*steps, loader='train_dataloader', model=None):
    pipeline = [LOAD, dict(type='lfi.RecordView', transforms=list(steps)), PACK]
    wrapped = dict(type='RepeatDataset', dataset=dict(type='CustomDataset', pipeline=pipeline))
    return Config({'model': dict(teacher={}) if model is None else model, loader: dict(dataset=wrapped)})


@pytest.mark.parametrize(
    'step',
    [
        dict(type='Pad', size_divisor=32),
        dict(type='mmdet.Pad', size=(64, 64)),
        dict(type=Pad, size=(64, 64)),
        dict(type='torchvision/Pad', padding=4),
        dict(type='mmdet.FixShapeResize', width=64, height=64, keep_ratio=True),
        dict(type='mmdet.Albu', transforms=[dict(type='PadIfNeeded', min_height=64, min_width=64)]),
        dict(type='Albumentations', transforms=[dict(type='LetterBox', size=(64, 64))]),
    ],
)
def test_padding_in_a_pipeline_is_refused_by_name(step):
    inner = step['transforms'][0] if 'transforms' in step else step
    name = inner['type'] if isinstance(inner['type'], str) else 'Pad'
    name = name.replace('/', '.').split('.')[-1]
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        with pytest.raises(UsageError, match=f'^{loader}: its pipeline pads by {name}, .*pad_size_divisor'):
            check_pipelines(config(step, loader=loader))


def test_a_pipeline_that_mixes_may_pad_where_a_cache_knows_it():
    steps = [dict(type='RandomCrop', crop_size=(64, 64)), dict(type='Pad', size=(64, 64))]
    taught = dict(teacher=dict(cache='maps'))
    cfg = config(*steps, model=taught)
    with pytest.raises(UsageError, match='pads by Pad'):
        check_pipelines(cfg)
    pasting = dict(type='MultiImageMixDataset', dataset=cfg.train_dataloader.dataset)
    pasting['pipeline'] = [dict(type='lfi.RecordedCopyPaste'), PACK]
    cfg.train_dataloader.dataset = pasting
    check_pipelines(cfg)
    cfg.model.teacher.cache = None
    with pytest.raises(UsageError, match='pads by Pad'):
        check_pipelines(cfg)


@pytest.mark.parametrize(
    ('steps', 'name'),
    [
        ([dict(type='NumpyToPIL', to_rgb=True), dict(type='PILToNumpy')], r'NumpyToPIL\(to_rgb=True\)'),
        ([dict(type='NumpyToPIL'), dict(type='mmpretrain.ToNumpy', to_bgr=True)], r'ToNumpy\(to_bgr=True\)'),
    ],
)
def test_a_pipeline_that_hands_on_rgb_to_an_online_teacher_is_refused_by_name(steps, name):
    with pytest.raises(UsageError, match=f'^train_dataloader: .* RGB images by {name}.*red as blue'):
        check_pipelines(config(*steps))
    check_pipelines(config(*steps, model=dict(teacher=dict(cache='maps'))))
    check_pipelines(config(*steps, model={}))
    check_pipelines(config(dict(type='NumpyToPIL', to_rgb=True), dict(type='PILToNumpy', to_bgr=True)))
    check_pipelines(config(dict(type='NumpyToPIL'), dict(type='PILToNumpy')))


@pytest.mark.parametrize('kind', ['CIFAR10', 'mmpretrain.CIFAR100', mmpretrain.datasets.CIFAR10])
def test_images_that_are_rgb_are_refused_with_the_data_set_to_take(kind):
    cfg = config()
    cfg.train_dataloader.dataset.dataset['type'] = kind
    with pytest.raises(UsageError, match=r"CIFAR\d+ has RGB images.*type='lfi.CIFAR\d+'.*to_rgb=True"):
        check_pipelines(cfg)
    cfg.train_dataloader.dataset.dataset['type'] = 'lfi.CIFAR10'
    check_pipelines(cfg)


def test_normalising_before_an_online_teacher_is_refused_by_name():
    normalise = dict(type='mmcv.Normalize', mean=[0], std=[1])
    with pytest.raises(UsageError, match='Normalize, .*near-black .*data_preprocessor'):
        check_pipelines(config(normalise))
    check_pipelines(config(normalise, model=dict(teacher=dict(cache='maps'))))


@pytest.mark.parametrize('kind', ['lfi.VLMAttentionTeacher', 'mine.OwnVLMAttentionTeacher'])
def test_a_model_that_holds_one_with_a_teacher_is_checked_too(kind):
    taught = dict(type='lfi.Student', task='mmdet.MaskRCNN', teacher=dict(type=kind))
    holder, normalise = dict(type='SoftTeacher', detector=taught), dict(type='Normalize', mean=[0], std=[1])
    for step in (dict(type='Pad', size_divisor=32), normalise):
        with pytest.raises(UsageError, match=step['type']):
            check_pipelines(config(step, model=holder))
    taught['teacher']['cache'] = 'maps'
    check_pipelines(config(normalise, model=holder))


def test_another_projects_teacher_inside_a_model_is_not_ours():
    other = dict(type='Distiller', architecture=dict(teacher=dict(type='ResNet')))
    check_pipelines(config(dict(type='Pad', size_divisor=32), model=other))


def test_what_only_moves_pixels_passes_and_so_do_models_without_a_teacher():
    steps = [dict(type='RandomFlip', prob=0.5), dict(type='mmdet.FixShapeResize', width=64, height=64)]
    check_pipelines(config(*steps))
    check_pipelines(config(dict(type='Pad', size=(64, 64)), model={}))
    check_pipelines(config(dict(type='Normalize'), model=dict(type='lfi.Student', teacher=None)))
    check_pipelines(Config(dict(model=dict(teacher={}), val_dataloader=None)))


def cached(*pipeline, **wrapper):
    inner = dict(type='lfi.Shapes', pipeline=list(pipeline))
    dataset = dict(wrapper, dataset=inner) if wrapper else inner
    return Config(dict(model=dict(teacher=dict(cache='maps')), train_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize('wrapper', [dict(), dict(type='RepeatDataset', times=2)])
def test_the_pipeline_reads_the_models_cache(wrapper):
    cfg = cached(READ, VIEW, PACK_CACHED, **wrapper)
    set_teacher_cache(cfg)
    dataset = cfg.train_dataloader.dataset
    assert dataset.get('dataset', dataset).pipeline[0].cache == 'maps'


@pytest.mark.parametrize(
    ('steps', 'message'),
    [
        ((READ, PACK_CACHED), 'records no view'),
        ((dict(type='lfi.RecordedCachedMosaic'), READ, PACK_CACHED), r'records no view.*transforms=\[\]$'),
        ((VIEW, READ, PACK), r"packs by PackInputs and drops 'view'.*to its algorithm_keys$"),
        ((VIEW, READ, dict(PACK, algorithm_keys=('view',))), "drops 'interaction_maps'"),
        ((VIEW, READ, dict(type='mmdet.PackDetInputs', meta_keys=('view',))), 'to its meta_keys$'),
    ],
)
def test_a_pipeline_that_drops_what_a_cached_teacher_reads_is_refused(steps, message):
    with pytest.raises(UsageError, match=f'^train_dataloader: its pipeline .*{message}'):
        set_teacher_cache(cached(*steps))


def test_a_pipeline_to_which_a_hook_switches_reads_the_cache_too():
    def switching(*steps):
        cfg = cached(READ, VIEW, PACK_CACHED)
        cfg.custom_hooks = [
            dict(type='EMAHook'),
            dict(type='PipelineSwitchHook', switch_pipeline=list(steps)),
        ]
        return cfg

    cfg = switching(READ, VIEW, PACK_CACHED)
    set_teacher_cache(cfg)
    assert cfg.custom_hooks[1].switch_pipeline[0].cache == 'maps'
    with pytest.raises(UsageError, match='each pipeline to which a hook switches, must read'):
        set_teacher_cache(switching(dict(type='PackInputs')))


@pytest.mark.parametrize(
    ('step', 'message'),
    [
        (dict(type='Pad', size=(64, 64)), '^custom_hooks: its pipeline pads by Pad'),
        (dict(type='mmdet.Normalize'), '^custom_hooks: its pipeline has the step Normalize'),
        (dict(type='lfi.LoadCaptionConcepts', concepts=['cat']), '^custom_hooks: concept 0 is .cat. in lfi'),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_the_pipeline_to_which_a_hook_switches_is_checked_too(step, message):
    cfg = config(model=dict(teacher=dict(concepts=['dog'])))
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.dataset
    cfg.custom_hooks = [dict(type='PipelineSwitchHook', switch_pipeline=[step])]
    with pytest.raises(UsageError, match=message):
        check_pipelines(cfg)


def test_a_hook_that_leaves_out_steps_by_name_is_refused():
    cfg = config(model=dict(teacher=dict(cache='maps')))
    cfg.custom_hooks = [dict(type='mmdet.YOLOXModeSwitchHook', num_last_epochs=15)]
    with pytest.raises(UsageError, match='^YOLOXModeSwitchHook skips steps .*teacher.cache=None'):
        set_teacher_cache(cfg)


def test_a_recipe_of_a_schedule_is_a_pipeline_to_which_a_hook_switches():
    def recipe(**changes):
        return dict(type='mmpretrain.SwitchRecipeHook', schedule=[dict(action_epoch=2, **changes)])

    cfg = cached(READ, VIEW, PACK_CACHED)
    cfg.custom_hooks = [recipe(train_pipeline=[VIEW, READ, PACK_CACHED])]
    set_teacher_cache(cfg)
    assert cfg.custom_hooks[0].schedule[0].train_pipeline[1].cache == 'maps'
    cfg.custom_hooks = [recipe(train_pipeline=[VIEW, dict(type='Rotate', angle=90), READ, PACK_CACHED])]
    with pytest.raises(UsageError, match='has the step Rotate outside lfi.RecordView'):
        check_unrecorded_steps(cfg)
    cfg.custom_hooks = [recipe(batch_augments=dict(augments='Mixup'))]
    with pytest.raises(UsageError, match='SwitchRecipeHook changes batch_augments, but cached maps'):
        set_teacher_cache(cfg)
    online = config(model=dict(teacher={}))
    online.custom_hooks = [recipe(train_pipeline=[dict(type='Normalize')])]
    with pytest.raises(UsageError, match='^custom_hooks: its pipeline has the step Normalize'):
        check_pipelines(online)


@pytest.mark.parametrize(
    'hook',
    [dict(type='mmdet.PipelineSwitchHook', switch_pipeline=[]), dict(type='mmdet.YOLOXModeSwitchHook')],
    ids=lambda hook: hook['type'],
)
def test_a_hook_that_would_change_no_pipeline_is_refused(hook):
    def joined(kind, *hooks):
        dataset = dict(type=kind, datasets=[dict(type='x', pipeline=[])])
        return Config(
            dict(model=dict(teacher={}), train_dataloader=dict(dataset=dataset), custom_hooks=[*hooks])
        )

    for kind in ('mmdet.ConcatDataset', 'RepeatDataset', 'mmdet.ClassBalancedDataset'):
        with pytest.raises(UsageError, match='SwitchHook changes no pipeline in .*SemiSupervisedDataset'):
            check_pipelines(joined(kind, hook))
    check_pipelines(joined('lfi.SemiSupervisedDataset', hook))
    if 'switch_pipeline' in hook:
        with pytest.raises(UsageError, match='SwitchHook gives a new pipeline to a MultiImageMixDataset'):
            check_pipelines(joined('mmdet.MultiImageMixDataset', hook))
        beside = joined('lfi.SemiSupervisedDataset', hook)
        beside.train_dataloader.dataset.datasets[0].type = 'MultiImageMixDataset'
        with pytest.raises(UsageError, match='SwitchHook gives a new pipeline to a MultiImageMixDataset'):
            check_pipelines(beside)
    check_pipelines(joined('ConcatDataset', dict(type='EMAHook')))


def test_a_hook_that_a_command_line_made_a_string_is_refused():
    with pytest.raises(UsageError, match=r"^custom_hooks: 'dict\(type=EMAHook\)' is not a dict"):
        hooks_of(Config(dict(custom_hooks=['dict(type=EMAHook)'])))
    assert hooks_of(Config()) == hooks_of(Config(dict(custom_hooks=None))) == []


def test_a_pipeline_reads_the_cache_of_this_run_and_no_earlier_one():
    cfg = cached(dict(READ, cache='others', labelled_cache='others/labelled'), dict(VIEW, cache='others'))
    set_teacher_cache(cfg)
    assert cfg.train_dataloader.dataset.pipeline[0] == dict(READ, cache='maps', labelled_cache=None)
    cfg.model.teacher.cache = None
    set_teacher_cache(cfg)
    assert cfg.train_dataloader.dataset.pipeline == [READ, VIEW]
    with pytest.raises(UsageError, match='must read the cache.*LoadInteractionMaps'):
        set_teacher_cache(cached(dict(type='PackInputs')))
    cfg = cached(dict(type='PackInputs'))
    cfg.model.teacher.cache = None
    set_teacher_cache(cfg)


@pytest.mark.parametrize(
    ('spoken', 'words'),
    [
        (
            ['dog', 'cat'],
            "train_dataloader: concept 0 is 'dog' in lfi.LoadCaptionConcepts and 'cat' in the teacher",
        ),
        (['cat', 'dog', 'sofa'], "concept 2 is 'sofa' in .* and None in the teacher"),
        (['cat'], "concept 1 is None in .* and 'dog' in the teacher"),
    ],
)
def test_captions_are_read_by_the_teachers_concepts(spoken, words):
    taught = dict(teacher=dict(concepts=['cat', 'dog']))
    check_pipelines(config(dict(type='lfi.LoadCaptionConcepts', concepts=('Cat', 'dog')), model=taught))
    with pytest.raises(UsageError, match=words):
        check_pipelines(config(dict(type='lfi.LoadCaptionConcepts', concepts=spoken), model=taught))
    check_pipelines(config(dict(type='lfi.LoadCaptionConcepts', concepts=spoken), model=dict(teacher=None)))
