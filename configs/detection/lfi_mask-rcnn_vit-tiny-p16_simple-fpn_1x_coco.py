# Mask R-CNN on COCO, ViT-Tiny/16 from DeiT's weights, 12 epochs,
# learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data tools/dist_train.sh \
#       configs/detection/lfi_mask-rcnn_vit-tiny-p16_simple-fpn_1x_coco.py 8
_base_ = '../baselines/task-loss_mask-rcnn_vit-tiny-p16_simple-fpn_1x_coco.py'

model = dict(
    type='lfi.LFIMaskRCNN',
    teacher=__import__('lfi').teacher_config(
        'clip-b16',
        concepts=dict(type='mmdet.CocoDataset'),
        input_size=448,
        max_concepts=16,
    ),
    # Beside a detector's own losses, which are small.
    interaction_loss=dict(positions_weight=0.5, concepts_weight=1.0, presence_weight=0.5),
)
