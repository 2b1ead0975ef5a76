# timm's RegNetY-200MF on the built-in Shapes data, learning from the built-in teacher's interactions. Any timm model
# with `features_only` can replace it.
#   python tools/train.py configs/classification/lfi_timm-regnety-002_shapes.py
_base_ = '../baselines/task-loss_timm-regnety-002_shapes.py'

model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(_delete_=True, type='lfi.InteractionQueryAdapter', backbone={{_base_.model.backbone}}),
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # With a background concept, the softmax over concepts localizes best.
            reading=dict(spatial_reading='concept_softmax', presence='best-location'),
        ),
    ),
)
