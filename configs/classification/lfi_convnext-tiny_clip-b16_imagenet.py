# ConvNeXt-Tiny on ImageNet-1k by mmpretrain's own recipe, learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/classification/lfi_convnext-tiny_clip-b16_imagenet.py 32
_base_ = '../baselines/task-loss_convnext-tiny_imagenet.py'

model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryAdapter',
        backbone={{_base_.model.backbone}},
        reads=('stages.2', 'stages.3'),
    ),
    teacher=__import__('lfi').teacher_config(
        'clip-b16',
        concepts=__import__('open_clip').IMAGENET_CLASSNAMES,
        max_concepts=16,
    ),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)
