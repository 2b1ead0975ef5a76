# A narrow ResNet-18 on 20 classes of Tiny-ImageNet, 64 px, from scratch, learning from a small teacher.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/classification/lfi_resnet18_lit-lite0_tiny-imagenet-20.py
_base_ = '../baselines/task-loss_resnet18_lit-lite0_tiny-imagenet-20.py'

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
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(
            type='lfi.TinyImageNet', data_root={{_base_.data_root}}, max_classes={{_base_.max_classes}}
        ),
        input_size=320,
    ),
    readout=dict(text_dims=512),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            loss=dict(spatial_weight=2.0, semantic_weight=4.0, presence_weight=2.0),
        ),
    ),
)
