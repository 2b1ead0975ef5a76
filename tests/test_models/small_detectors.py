"""mmdet's detectors, as small as can be, and what they train on."""

import torch
from lfi.models import Student
from lfi.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.structures import InstanceData

NAMES = ['cat', 'dog', 'tree', 'car']
BACKBONE = dict(
    type='lfi.InteractionQueryViT',
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=64,
    patch_size=16,
    with_cls_token=False,
    out_type='featmap',
    window_size=2,
)
SIMPLE_FPN = dict(type='lfi.SimpleFPN', in_channels=16)
CASES = {
    'mask_rcnn': ('mmdet.MaskRCNN', 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', SIMPLE_FPN),
    'faster_rcnn': ('mmdet.FasterRCNN', 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', SIMPLE_FPN),
    'cascade_mask_rcnn': (
        'mmdet.CascadeRCNN',
        'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
        SIMPLE_FPN,
    ),
    'retinanet': ('mmdet.RetinaNet', 'retinanet/retinanet_r50_fpn_1x_coco.py', SIMPLE_FPN),
    'detr': ('mmdet.DETR', 'detr/detr_r50_8xb2-150e_coco.py', dict(in_channels=[16])),
}
INTERACTIONS = dict(type='lfi.Interactions')
PRIOR = dict(prior=dict(type='lfi.AffinityPrior'))


def small_detector(name: str, vlm: str, max_concepts: int, **arguments) -> Student:
    """The student of one of `CASES` that learns interactions, seeded; in mmdet's scope.

    Args:
        name: of the case.
        vlm: the folder of the teacher's VLM.
        max_concepts: of the teacher.
        **arguments: of the student, in place of its own; `teacher` is merged in.
    """
    teacher = dict(
        type='lfi.VLMAttentionTeacher',
        model=vlm,
        extractor='maskclip',
        concepts=NAMES,
        background=['sky'],
        max_concepts=max_concepts,
    )
    teacher.update(arguments.pop('teacher', {}))
    return build(name, {'teacher': teacher, 'supervision': dict(interactions=INTERACTIONS), **arguments})


def prior_mask_rcnn() -> Student:
    """A small Mask R-CNN with the prior and without a teacher, seeded; in mmdet's scope."""
    return build('mask_rcnn', dict(supervision=PRIOR))


def build(name: str, arguments: dict) -> Student:
    """The student of a case with further arguments."""
    cfg = student_config(name, arguments)
    torch.manual_seed(0)
    return MODELS.build(cfg)


def student_config(name: str, arguments: dict) -> ConfigDict:
    """Its config."""
    task, config, neck = CASES[name]
    cfg = get_config(f'mmdet::{config}').model
    cfg.backbone = BACKBONE
    cfg.neck = neck if 'type' in neck else dict(cfg.neck, **neck)
    if name == 'retinanet':
        cfg.bbox_head.update(stacked_convs=1)
        cfg.bbox_head.anchor_generator.strides = [4, 8, 16, 32, 64]
    if 'roi_head' in cfg:
        few_proposals(cfg)
        for head in stages(cfg.roi_head.bbox_head):
            head.fc_out_channels = 32
        if 'mask_head' in cfg.roi_head:
            cfg.roi_head.mask_head.num_convs = 1
    cfg.update(type='lfi.Student', task=task, **arguments)
    return cfg


def few_proposals(cfg: ConfigDict) -> None:
    """Give the second stage of a model's config few boxes to look at."""
    cfg.train_cfg.rpn_proposal.max_per_img = cfg.test_cfg.rpn.max_per_img = 50
    for stage in stages(cfg.train_cfg.rcnn):
        stage.sampler.num = 16


def stages(found: ConfigDict | list) -> list[ConfigDict]:
    """Of a cascade, or the only one."""
    return found if isinstance(found, list) else [found]


def sample(shape, boxes=(), labels=(), ignored=(), **metainfo) -> DetDataSample:
    """A sample in a batch of 64 x 64 pixels, whose boxes are whole masks too."""
    masks = torch.zeros(len(boxes), *shape, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[int(y1) : int(y2), int(x1) : int(x2)] = 1
    sizes = dict(img_shape=shape, ori_shape=shape, pad_shape=(64, 64), batch_input_shape=(64, 64))
    found = DetDataSample(metainfo=dict(**sizes, scale_factor=(1.0, 1.0), **metainfo))
    found.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
        masks=BitmapMasks(masks.numpy(), *shape),
    )
    found.ignored_instances = InstanceData(bboxes=torch.tensor(ignored, dtype=torch.float32).view(-1, 4))
    return found
