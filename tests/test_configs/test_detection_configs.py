"""Every config of detection builds, reads its data and gives each parameter its rate."""

import pytest
import torch
from lfi.models import Student
from lfi.registry import DATASETS
from mmdet.models.detectors import MaskRCNN
from mmengine.runner import Runner
from repository_configs import BASELINES, DETECTION, model_differences, read, start

METHODS = [config for config in DETECTION if config not in BASELINES]
SHAPES = [config for config in DETECTION if 'shapes' in config]
COCO = [config for config in DETECTION if config not in SHAPES]


@pytest.fixture
def coco(coco_root, monkeypatch):
    monkeypatch.setenv('LFI_DATA_ROOT', str(coco_root))


@pytest.mark.parametrize('config', METHODS)
def test_differs_from_its_baseline_by_the_interactions_alone(config, empty_root):
    model, plain = model_differences(config)
    assert 'num_queries' not in model['backbone']
    assert model == plain


@pytest.mark.parametrize('config', DETECTION)
def test_builds_and_gives_each_parameter_its_rate(config, coco, tmp_path):
    cfg = read(config)
    runner = start(cfg, tmp_path)
    model = runner.model
    # What is from scratch has the prior, and what learns nothing more is the project's own.
    assert isinstance(model, MaskRCNN)
    assert isinstance(model, Student) is (config in METHODS or bool(cfg.model.get('supervision')))
    optimizer = runner.build_optim_wrapper(cfg.optim_wrapper)
    group_of = {id(group['params'][0]): group for group in optimizer.optimizer.param_groups}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(group_of) == len(trained)

    base, decay = cfg.optim_wrapper.optimizer, cfg.optim_wrapper.paramwise_cfg.layer_decay_rate
    depth = model.backbone.num_layers
    for name, parameter in trained.items():
        part, *rest = name.split('.')
        above = 0
        if part == 'backbone' and rest[0] in ('pos_embed', 'patch_embed', 'interaction_queries'):
            above = depth + 1
        elif part == 'backbone' and rest[0] == 'layers':
            above = depth - int(rest[1])
        group = group_of[id(parameter)]
        assert group['lr'] == pytest.approx(base.lr * decay**above), name
        exempt = parameter.ndim == 1 or rest[-1] in (
            'pos_embed',
            'interaction_queries',
            'rel_pos_h',
            'rel_pos_w',
        )
        assert group['weight_decay'] == (0 if exempt else base.weight_decay), name


@pytest.mark.parametrize('config', DETECTION)
def test_reads_its_data_and_its_schedule_fills_the_training(config, coco):
    cfg = read(config)
    data = cfg.train_dataloader.dataset
    sample = DATASETS.build(dict(data, _scope_='mmdet'))[0]
    image, found = sample['inputs'], sample['data_samples']
    assert tuple(image.shape[1:]) == tuple(found.img_shape)
    assert found.view.shape == (2, 3)
    assert len(found.gt_instances.bboxes) == len(found.gt_instances.masks)
    validation = DATASETS.build(dict(cfg.val_dataloader.dataset, _scope_='mmdet'))[0]
    assert {'img_id', 'ori_shape', 'scale_factor'} <= set(validation['data_samples'].metainfo_keys())

    by_epoch = [s for s in cfg.param_scheduler if s.by_epoch]
    assert by_epoch[-1].end == cfg.train_cfg.max_epochs


@pytest.mark.parametrize('config', [config for config in METHODS if 'tiny' in config])
def test_learns_from_its_teacher(config, coco, small_clip, tmp_path, unlearnt):
    cfg = read(config)
    teacher = cfg.model.teacher
    if teacher.get('pretrained'):
        teacher.update(model=str(small_clip), pretrained=None)
    elif '/' in teacher.model:
        pytest.skip(f'{teacher.model} is not asked for here')
    small = dict(type='Resize', scale=(96, 64), keep_ratio=True)
    data = cfg.train_dataloader.dataset
    while 'dataset' in data:
        data = data.dataset
    if config in COCO:
        data.pipeline[2].transforms = [small]
        cfg.model.data_preprocessor.batch_augments = None
    # Of 512 regions an image, the heads learn from a few.
    cfg.model.train_cfg.rcnn.sampler.num = 16
    model = start(cfg, tmp_path).model.train()
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert {'loss_mask', 'loss_spatial', 'loss_semantic', 'loss_presence'} < set(losses)
    total, log = model.parse_losses(losses)
    total.backward()
    assert all(torch.as_tensor(value).isfinite().all() for value in log.values())
    assert not unlearnt(model)


@pytest.mark.parametrize('config', SHAPES)
def test_shapes_masks_are_its_ground_truth(config, tmp_path):
    """Perfect predictions get an average precision of 1: images, masks and metric belong together."""
    cfg = read(config)
    cfg.val_dataloader.dataset.num_images = 6
    runner = start(cfg, tmp_path)
    dataset = Runner.build_dataloader(cfg.val_dataloader).dataset
    evaluator = runner.build_evaluator(cfg.val_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        truth = sample.gt_instances
        sample.pred_instances = truth.new(
            bboxes=truth.bboxes.tensor if hasattr(truth.bboxes, 'tensor') else truth.bboxes,
            labels=truth.labels,
            masks=torch.from_numpy(truth.masks.masks.astype(bool)),
            scores=torch.ones(len(truth.labels)),
        )
        evaluator.process(data_samples=[sample])
    metrics = evaluator.evaluate(len(dataset))
    assert metrics['coco/segm_mAP'] == metrics['coco/bbox_mAP'] == 1
