# mmdet's Mask R-CNN on a ViT that learns from interactions; in place of COCO, the data that come with LFI.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

# What makes it an LFI config.
custom_imports = dict(imports=['lfi'], allow_failed_imports=False)
model = dict(
    type='lfi.Student',
    task='mmdet.MaskRCNN',
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryViT',
        arch=dict(embed_dims=64, num_layers=4, num_heads=4, feedforward_channels=128),
        img_size=96,
        patch_size=8,
        with_cls_token=False,
        out_type='featmap',
    ),
    neck=dict(_delete_=True, type='lfi.SimpleFPN', in_channels=64, out_channels=256),
    teacher=dict(
        type='lfi.VLMAttentionTeacher',
        model='shapes-tiny',
        extractor=dict(type='dense'),
        concepts=dict(type='lfi.Shapes'),
    ),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)

# What makes it small.
model.update(
    rpn_head=dict(anchor_generator=dict(strides=[2, 4, 8, 16, 32])),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=[2, 4, 8, 16]),
        bbox_head=dict(num_classes=20, fc_out_channels=64),
        mask_roi_extractor=dict(featmap_strides=[2, 4, 8, 16]),
        mask_head=dict(num_classes=20, num_convs=1),
    ),
    train_cfg=dict(rpn_proposal=dict(max_per_img=50), rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(rpn=dict(max_per_img=50)),
)
shapes = dict(_delete_=True, type='lfi.Shapes', img_size=96)
train_pipeline = [
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape')),
]
test_pipeline = [
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale_factor=1.0, keep_ratio=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances'),
    ),
]
train_dataloader = dict(dataset=dict(**shapes, split='train', num_images=16, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**shapes, split='val', num_images=8, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='CocoMetric', metric=['bbox', 'segm'])
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(type='DetVisualizationHook', draw=False))
