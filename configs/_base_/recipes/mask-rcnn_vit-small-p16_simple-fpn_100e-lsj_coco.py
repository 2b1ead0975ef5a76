# Mask R-CNN on COCO, ViT-Small/16 from DeiT's weights, 100 epochs of large-scale jitter.
_base_ = [
    '../models/mask-rcnn_vit-small-p16_simple-fpn.py',
    '../datasets/coco-instance_lsj-1024.py',
    '../schedules/adamw_100e-lsj.py',
    '../detection_runtime.py',
]

# Batches of one size, as ViTDet has them.
model = dict(
    data_preprocessor=dict(
        batch_augments=[dict(type='BatchFixedSizePad', size={{_base_.image_size}}, pad_mask=True)],
    ),
)
