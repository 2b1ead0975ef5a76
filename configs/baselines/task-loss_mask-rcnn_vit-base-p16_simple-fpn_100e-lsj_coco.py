# Mask R-CNN on COCO, ViT-Base/16 from MAE's weights, 100 epochs of large-scale jitter:
# task loss alone, the baseline of lfi_mask-rcnn_vit-base-p16_simple-fpn_100e-lsj_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh \
#       configs/baselines/task-loss_mask-rcnn_vit-base-p16_simple-fpn_100e-lsj_coco.py 8
_base_ = [
    '../_base_/models/mask-rcnn_vit-base-p16_simple-fpn.py',
    '../_base_/datasets/coco-instance_lsj-1024.py',
    '../_base_/schedules/adamw_100e-lsj.py',
    '../_base_/detection_runtime.py',
]

# Batches of one size, as in ViTDet.
model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type='BatchFixedSizePad', size={{_base_.image_size}}, pad_mask=True)],
    ),
)
