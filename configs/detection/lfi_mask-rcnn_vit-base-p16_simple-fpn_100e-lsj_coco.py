# Mask R-CNN on COCO, ViT-Base/16 from MAE's weights, 100 epochs of large-scale jitter,
# learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data tools/dist_train.sh \
#       configs/detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_100e-lsj_coco.py 8
_base_ = '../baselines/task-loss_mask-rcnn_vit-base-p16_simple-fpn_100e-lsj_coco.py'

model = dict(
    type='lfi.Student',
    task='mmdet.MaskRCNN',
    teacher=__import__('lfi').teacher_config('clip-b16_448', concepts=dict(type='mmdet.CocoDataset')),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # Lower weights, since the losses of a detector are small.
            loss=dict(spatial_weight=0.5, semantic_weight=1.0, presence_weight=0.5),
        ),
    ),
)
