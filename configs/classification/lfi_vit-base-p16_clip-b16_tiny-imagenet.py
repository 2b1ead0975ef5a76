# ViT-Base/16 on Tiny-ImageNet, 224 px, from MAE's weights, learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/classification/lfi_vit-base-p16_clip-b16_tiny-imagenet.py 2
_base_ = '../baselines/task-loss_vit-base-p16_tiny-imagenet.py'

model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(type='lfi.InteractionQueryViT'),
    teacher=__import__('lfi').teacher_config(
        'clip-b16',
        concepts=dict(type='lfi.TinyImageNet', data_root={{_base_.data_root}}),
        max_concepts=16,
    ),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)
