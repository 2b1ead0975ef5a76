"""One option turns a config with all labels into one with few."""

import pytest
from lfi.config_files import tools_root
from lfi.engine.config_loading import load_config
from lfi.engine.few_labels_option import check_few_labels, set_few_labels
from lfi.errors import UsageError
from lfi.models import Student
from mmdet.datasets.transforms import RandomCrop
from mmengine.config import Config

RECIPE = 'configs/baselines/logit-kd_vit-128x6-p8_shapes.py'
DETECTOR = dict(type='lfi.Student', task='mmdet.MaskRCNN')


def recipe(**options):
    return load_config(
        str(tools_root() / RECIPE),
        {f'train_dataloader.few_labels.{key}': value for key, value in options.items()},
    )


def test_the_option_wraps_the_data_set_and_takes_the_sampler():
    cfg, plain = recipe(labels_per_class=2, labelled_share=0.25, seed=3), recipe()
    wrapped = cfg.train_dataloader.dataset
    assert wrapped.pop('dataset') == plain.train_dataloader.dataset
    assert wrapped == dict(type='lfi.FewLabels', labels_per_class=2, seed=3)
    assert cfg.train_dataloader.sampler == dict(type='lfi.LabelledShareSampler', labelled_share=0.25)
    for key in ('dataset', 'sampler'):
        plain.train_dataloader.pop(key)
        cfg.train_dataloader.pop(key)
    assert cfg.to_dict() == plain.to_dict()


def test_a_sampler_of_batches_gives_way():
    pytest.importorskip('mmdet')
    file = str(tools_root() / 'configs/detection/lfi_mask-rcnn_r50-fpn_1x_coco.py')
    assert load_config(file).train_dataloader.batch_sampler.type == 'AspectRatioBatchSampler'
    cfg = load_config(file, {'train_dataloader.few_labels.labelled_images': 120})
    assert cfg.train_dataloader.batch_sampler is None


def test_a_config_without_training_data_has_none_with_it():
    cfg = Config(dict(train_dataloader=dict(few_labels=dict(labels_per_class=1))))
    set_few_labels(cfg)
    assert 'train_dataloader' not in cfg
    cfg = Config(dict(train_dataloader=dict(few_labels=None, dataset={})))
    set_few_labels(cfg)
    assert cfg.train_dataloader == dict(dataset={})


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(labels=1),
            'few_labels has labels, but takes labels_per_class, labelled_images, labelled_share',
        ),
        (dict(seed=1), 'few_labels needs one of labels_per_class'),
        (dict(labels_per_class=1, labelled_images=9), 'few_labels needs one of labels_per_class'),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(UsageError, match=message):
        recipe(**options)
    with pytest.raises(UsageError, match='few_labels has 10, but takes'):
        load_config(str(tools_root() / RECIPE), {'train_dataloader.few_labels': 10})


@pytest.mark.parametrize(
    ('share', 'message'),
    [
        (0, 'labelled_share=0 must be above 0 and below 1'),
        (1, 'labelled_share=1 must be above 0 and below 1.* leave lfi.FewLabels and few_labels out'),
        ('half', "labelled_share='half' must be"),
        (0.001, r'labelled_share=0.001 of train_dataloader.batch_size=\d+ leaves a batch .* nearer to 0.5'),
        (0.999, 'labelled_share=0.999 of train_dataloader.batch_size'),
    ],
)
def test_a_share_that_leaves_a_batch_without_one_kind_is_refused(share, message):
    with pytest.raises(UsageError, match=f'few_labels: {message}'):
        recipe(labels_per_class=1, labelled_share=share)


@pytest.mark.parametrize('share', [0.1, 0.9])
def test_one_image_of_a_kind_is_enough(share):
    """1 - 0.9 is a little less than 0.1."""
    cfg = Config(
        dict(
            train_dataloader=dict(
                batch_size=10, dataset={}, few_labels=dict(labels_per_class=1, labelled_share=share)
            )
        )
    )
    set_few_labels(cfg)
    assert cfg.train_dataloader.sampler.labelled_share == share


@pytest.mark.parametrize(
    ('model', 'known'),
    [
        (dict(type='mmpretrain.ImageClassifier'), False),
        (dict(type='ImageClassifier', _scope_='mmpretrain'), False),
        (dict(type='ImageClassifier'), False),
        (dict(type='lfi.Student', task='mmpretrain.ImageClassifier'), True),
        (dict(type='lfi.Student'), True),
        (dict(type='Student', _scope_='lfi'), True),
        (dict(type='lfi.Student', task='mmdet.RTMDet'), True),
        (dict(type=Student, task='mmseg.EncoderDecoder'), True),
    ],
)
def test_a_model_that_would_learn_from_hidden_labels_is_refused(model, known):
    few = dict(type='lfi.FewLabels', labels_per_class=1, dataset=dict(type='lfi.Shapes'))
    folder = dict(type='lfi.ImageFolder', data_root='images')
    beside = dict(type='ConcatDataset', datasets=[dict(type='lfi.Shapes'), few])
    for dataset in (few, beside, folder):
        cfg = Config(dict(default_scope='mmpretrain', model=model, train_dataloader=dict(dataset=dataset)))
        if known:
            check_few_labels(cfg)
            continue
        with pytest.raises(
            UsageError, match="would learn from the label -1.* task='mmpretrain.ImageClassifier'$"
        ):
            check_few_labels(cfg)


def test_a_sampler_that_reads_the_classes_of_all_images_is_refused():
    few = dict(type='lfi.FewLabels', labelled_images=1, dataset=dict(type='lfi.Shapes'))
    loader = dict(sampler=dict(type='mmdet.ClassAwareSampler', num_sample_class=1), dataset=few)
    with pytest.raises(UsageError, match='sampler=ClassAwareSampler .*lfi.LabelledShareSampler'):
        check_few_labels(Config(dict(model=DETECTOR, train_dataloader=loader)))
    check_few_labels(Config(dict(model=DETECTOR, train_dataloader=dict(loader, dataset=few['dataset']))))


@pytest.mark.parametrize('options', [dict(batch_augments=dict(augments='Mixup')), dict(to_onehot=True)])
def test_images_without_labels_are_mixed_by_no_data_preprocessor(options):
    few = dict(type='lfi.FewLabels', labels_per_class=1, dataset=dict(type='lfi.Shapes'))
    model = dict(type='lfi.Student', task='mmpretrain.ImageClassifier')
    cfg = Config(dict(model=model, train_dataloader=dict(dataset=few), data_preprocessor=options))
    with pytest.raises(UsageError, match='data_preprocessor makes scores of labels'):
        check_few_labels(cfg)
    cfg.data_preprocessor = dict(
        type='mmdet.DetDataPreprocessor', batch_augments=[dict(type='BatchFixedSizePad')]
    )
    check_few_labels(cfg)


def test_images_without_labels_are_mixed_by_no_hook():
    def check(dataset, augments):
        hook = dict(
            type='mmpretrain.SwitchRecipeHook', schedule=[dict(action_epoch=2, batch_augments=augments)]
        )
        model = dict(type='lfi.Student', task='mmpretrain.ImageClassifier')
        check_few_labels(
            Config(dict(model=model, custom_hooks=[hook], train_dataloader=dict(dataset=dataset)))
        )

    mixup = dict(augments=dict(type='Mixup', alpha=0.8))
    few = dict(type='lfi.FewLabels', labels_per_class=1, dataset=dict(type='lfi.Shapes'))
    for dataset in (few, dict(type='lfi.ImageFolder', data_root='images')):
        with pytest.raises(UsageError, match='^custom_hooks: .* adds batch_augments, .* from the schedule$'):
            check(dataset, mixup)
        check(dataset, None)
    check(dict(type='lfi.Shapes'), mixup)


def test_images_without_labels_are_in_no_mosaic():
    folder = dict(type='lfi.ImageFolder', data_root='images')
    coco = dict(type='mmdet.CocoDataset')
    both = dict(type='ConcatDataset', datasets=[coco, folder])
    beside = dict(
        type='ConcatDataset', datasets=[dict(type='mmdet.MultiImageMixDataset', dataset=coco), folder]
    )
    for dataset in (both, beside, dict(type='RepeatDataset', dataset=both)):
        cfg = dict(
            model=dict(type='lfi.Student', task='mmdet.MaskRCNN'), train_dataloader=dict(dataset=dataset)
        )
        check_few_labels(Config(cfg))
        mixed = dict(type='mmdet.MultiImageMixDataset', dataset=dataset, pipeline=[])
        for outer in (mixed, dict(type='RepeatDataset', dataset=mixed)):
            cfg['train_dataloader'] = dict(dataset=outer)
            with pytest.raises(UsageError, match='MultiImageMixDataset .* would count as negatives. Put'):
                check_few_labels(Config(cfg))
            check_few_labels(Config({**cfg, 'model': dict(type='lfi.Student')}))


MOSAIC = dict(type='lfi.RecordedCachedMosaic', img_scale=(64, 64))
MIXUP = dict(type='RandomApply', transforms=[dict(type='mmdet.CachedMixUp', img_scale=(64, 64))])


@pytest.mark.parametrize('step', [MOSAIC, MIXUP], ids=['Mosaic', 'MixUp'])
@pytest.mark.parametrize('switched', [False, True])
def test_hidden_labels_are_in_no_mosaic_from_memory(step, switched):
    pipeline = [dict(type='LoadImageFromFile'), step]
    shapes = dict(type='lfi.Shapes', pipeline=[] if switched else pipeline)
    hooks = [dict(type='mmdet.PipelineSwitchHook', switch_epoch=1, switch_pipeline=pipeline)]
    cfg = Config(
        dict(
            model=DETECTOR,
            custom_hooks=hooks if switched else [],
            train_dataloader=dict(dataset=dict(type='lfi.FewLabels', labelled_images=1, dataset=shapes)),
        )
    )
    with pytest.raises(UsageError, match=r'Cached(Mosaic|MixUp) would mix in images .* hides'):
        check_few_labels(cfg)
    check_few_labels(Config({**cfg, 'model': dict(type='lfi.Student')}))
    # Where none is known nothing is learnt of any.
    cfg.train_dataloader.dataset.labelled_images = 0
    check_few_labels(cfg)
    # The others may be mixed among themselves.
    few = dict(type='lfi.FewLabels', labelled_images=1, dataset=dict(type='lfi.Shapes'))
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[shapes, few])
    cfg.custom_hooks = []
    check_few_labels(cfg)


def test_a_pipeline_of_known_and_hidden_images_is_in_no_mosaic_from_memory():
    hidden = dict(type='lfi.FewLabels', labelled_images=0, dataset=dict(type='lfi.Shapes'))
    both = dict(type='ConcatDataset', datasets=[dict(type='lfi.Shapes'), hidden])
    switch = dict(type='mmdet.PipelineSwitchHook', switch_epoch=1, switch_pipeline=[MOSAIC])

    def check(first):
        dataset = dict(type='lfi.SemiSupervisedDataset', datasets=[first, hidden])
        cfg = dict(model=DETECTOR, custom_hooks=[switch], train_dataloader=dict(dataset=dataset))
        check_few_labels(Config(cfg))

    with pytest.raises(UsageError, match='RecordedCachedMosaic would mix in images'):
        check(both)
    check(dict(type='lfi.Shapes'))


@pytest.mark.parametrize(
    ('step', 'fix'),
    [
        (dict(type='mmdet.FilterAnnotations', min_gt_bbox_wh=(1, 1)), 'set its keep_empty=False'),
        (dict(type='Albu', skip_img_without_anno=True), 'set its skip_img_without_anno=False'),
        (dict(type='Albu', transforms=[dict(type='MaskDropout')]), 'remove the step'),
        (dict(type=RandomCrop, crop_size=(8, 8), _scope_='lfi'), 'set its allow_negative_crop=True'),
        (dict(type='RandomCrop', crop_size=(8, 8)), 'set its allow_negative_crop=True'),
        (
            dict(type='RandomOrder', _scope_='mmdet', transforms=[dict(type='RandomCrop', crop_size=8)]),
            'set its allow_negative_crop=True',
        ),
        (dict(type='mmseg.RandomCrop', crop_size=(8, 8), cat_max_ratio=0.75), 'remove its cat_max_ratio'),
        (dict(type='MinIoURandomCrop'), None),
        (dict(type='FilterAnnotations', keep_empty=False), None),
        (dict(type='Albu', transforms=[]), None),
        (dict(type='RandomCrop', crop_size=(8, 8), allow_negative_crop=True), None),
        (dict(type='mmpretrain.RandomCrop', crop_size=8), None),
        (dict(type='RandomCrop', crop_size=8, _scope_='mmpretrain'), None),
        (dict(type='mmseg.RandomCrop', crop_size=(8, 8)), None),
    ],
)
def test_steps_that_need_hidden_annotations_are_refused(step, fix):
    pipeline = [dict(type='lfi.RecordView', transforms=[step])]
    dataset = dict(
        type='lfi.FewLabels', labelled_images=0, dataset=dict(type='lfi.Shapes', pipeline=pipeline)
    )
    scope = 'lfi' if step['type'] == 'RandomOrder' else 'mmdet'
    cfg = Config(dict(model=DETECTOR, default_scope=scope, train_dataloader=dict(dataset=dataset)))
    if fix is None:
        check_few_labels(cfg)
    else:
        with pytest.raises(UsageError, match=f'crops images by annotations, .* hides these: {fix}$'):
            check_few_labels(cfg)
    # Known annotations may choose.
    cfg.train_dataloader.dataset = dataset['dataset']
    check_few_labels(cfg)
    # A hook may bring the step later.
    hidden = dict(dataset, dataset=dict(type='lfi.Shapes'))
    cfg.custom_hooks = [dict(type='mmdet.PipelineSwitchHook', switch_epoch=1, switch_pipeline=pipeline)]
    cfg.train_dataloader.dataset = hidden
    if fix is not None:
        with pytest.raises(UsageError, match=fix):
            check_few_labels(cfg)
    beside = [dict(type='lfi.Shapes'), hidden]
    cfg.train_dataloader.dataset = dict(type='lfi.SemiSupervisedDataset', datasets=beside)
    check_few_labels(cfg)


def test_with_all_labels_any_model_will_do():
    plain = dict(model=dict(type='ImageClassifier'), train_dataloader=dict(dataset=dict(type='lfi.Shapes')))
    check_few_labels(Config(plain))
    check_few_labels(Config(dict(model=dict(type='ImageClassifier'))))
