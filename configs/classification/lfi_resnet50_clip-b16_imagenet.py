# ResNet-50 on ImageNet-1k by mmpretrain's own recipe, learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/classification/lfi_resnet50_clip-b16_imagenet.py 8
_base_ = '../baselines/task-loss_resnet50_imagenet.py'

model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryAdapter',
        backbone={{_base_.model.backbone}},
        reads=('layer3', 'layer4'),
    ),
    teacher=__import__('lfi').teacher_config(
        'clip-b16',
        concepts=__import__('open_clip').IMAGENET_CLASSNAMES,
        max_concepts=16,
    ),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)
