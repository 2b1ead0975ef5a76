# DeiT-Small/16 on ImageNet-1k, 300 epochs, learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/classification/lfi_deit-small-p16_clip-b16_imagenet.py 4
_base_ = '../baselines/task-loss_deit-small-p16_imagenet.py'

model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(type='lfi.InteractionQueryViT'),
    teacher=__import__('lfi').teacher_config(
        'clip-b16',
        concepts=__import__('open_clip').IMAGENET_CLASSNAMES,
        max_concepts=16,
    ),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)
