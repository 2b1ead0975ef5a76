# Swin-Tiny on ImageNet-1k by mmpretrain's own recipe, learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/classification/lfi_swin-tiny_clip-b16_imagenet.py 16
_base_ = '../baselines/task-loss_swin-tiny_imagenet.py'

model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(
        _delete_=True,
        type='lfi.InteractionQueryAdapter',
        # Backbone of the baseline that also returns the second last map, for the queries.
        backbone=dict(
            type='SwinTransformer', arch='tiny', img_size=224, drop_path_rate=0.2, out_indices=(2, 3)
        ),
    ),
    teacher=__import__('lfi').teacher_config(
        'clip-b16',
        concepts=__import__('open_clip').IMAGENET_CLASSNAMES,
        max_concepts=16,
    ),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)
