# A narrow ResNet-18 on the built-in Shapes data without labels, pretrained by the built-in teacher's
# interactions.
#   python tools/train.py configs/pretraining/lfi-pretrain_resnet18_shapes.py
_base_ = './lfi-pretrain_vit-128x6-p8_shapes.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryAdapter',
        backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=16, base_channels=16),
        # Maps of strides 4 and 8.
        reads=('layer3', 'layer4'),
    ),
    supervision=dict(prior=None),
)
