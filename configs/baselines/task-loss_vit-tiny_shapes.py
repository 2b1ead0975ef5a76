# A small ViT on the built-in Shapes data, task loss alone: the baseline of lfi_vit-tiny_shapes.py.
#   python tools/train.py configs/baselines/task-loss_vit-tiny_shapes.py
_base_ = '../_base_/recipes/vit-tiny_shapes.py'
