# A narrow ResNet-18 on the built-in Shapes data, learning from the built-in teacher's interactions.
#   python tools/train.py configs/classification/lfi_resnet18_shapes.py
_base_ = '../baselines/task-loss_resnet18_shapes.py'

model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryAdapter',
        backbone={{_base_.model.backbone}},
        # Maps of strides 4 and 8.
        reads=('layer3', 'layer4'),
    ),
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # With a background concept, the softmax over concepts localizes best.
            reading=dict(spatial_reading='concept_softmax', presence='best-location'),
        ),
    ),
)
