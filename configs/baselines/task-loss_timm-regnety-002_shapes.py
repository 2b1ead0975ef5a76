# timm's RegNetY-200MF on the built-in Shapes data, with stride 8 in all later stages, task loss alone: the baseline of
# lfi_timm-regnety-002_shapes.py.
#   python tools/train.py configs/baselines/task-loss_timm-regnety-002_shapes.py
_base_ = './task-loss_resnet18_shapes.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='regnety_002',
        features_only=True,
        out_indices=(3, 4),
        output_stride=8,
    ),
    head=dict(in_channels=368),
)
