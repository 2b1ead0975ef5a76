# timm's RegNetY-200MF on the built-in Shapes data, task loss alone: the baseline of lfi_timm-regnety-002_shapes.py.
#   python tools/train.py configs/baselines/task-loss_timm-regnety-002_shapes.py
_base_ = '../_base_/recipes/timm-regnety-002_shapes.py'
