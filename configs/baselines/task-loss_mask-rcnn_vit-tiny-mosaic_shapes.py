# A small Mask R-CNN on mosaics of the built-in Shapes data, task loss alone: the baseline of
# lfi_mask-rcnn_vit-tiny-mosaic_shapes.py.
#   python tools/train.py configs/baselines/task-loss_mask-rcnn_vit-tiny-mosaic_shapes.py
_base_ = '../_base_/recipes/mask-rcnn_vit-tiny-mosaic_shapes.py'
