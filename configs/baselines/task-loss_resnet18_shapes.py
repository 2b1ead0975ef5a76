# A narrow ResNet-18 on the built-in Shapes data, task loss alone: the baseline of lfi_resnet18_shapes.py.
#   python tools/train.py configs/baselines/task-loss_resnet18_shapes.py
_base_ = '../_base_/recipes/resnet18_shapes.py'
