# A small ViT on the built-in Shapes data with Mixup and CutMix, task loss alone: the baseline of
# lfi_vit-tiny-mixed_shapes.py.
#   python tools/train.py configs/baselines/task-loss_vit-tiny-mixed_shapes.py
_base_ = '../_base_/recipes/vit-tiny-mixed_shapes.py'
