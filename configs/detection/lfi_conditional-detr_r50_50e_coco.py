# Conditional DETR on COCO, ResNet-50, 50 epochs, learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/detection/lfi_conditional-detr_r50_50e_coco.py 8
_base_ = '../baselines/task-loss_conditional-detr_r50_50e_coco.py'

model = dict(
    type='lfi.Student',
    task='mmdet.ConditionalDETR',
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryAdapter',
        backbone={{_base_.model.backbone}},
        reads=('layer3', 'layer4'),
    ),
    teacher=__import__('lfi').teacher_config('clip-b16_448', concepts=dict(type='mmdet.CocoDataset')),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # Lower weights, since the losses of a detector are small.
            loss=dict(spatial_weight=0.5, semantic_weight=1.0, presence_weight=0.5),
        ),
    ),
)
