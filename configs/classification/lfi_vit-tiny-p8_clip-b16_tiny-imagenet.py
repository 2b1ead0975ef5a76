# ViT-Tiny/8 on Tiny-ImageNet, 64 px, from scratch, learning from CLIP ViT-B/16's interactions.
#   LFI_DATA_ROOT=data python tools/train.py configs/classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py 8 \
#       --cfg-options train_dataloader.batch_size=16
# open_clip downloads the teacher's weights (600 MB) in the first run; `model.teacher.pretrained` may also be a file.
_base_ = '../baselines/task-loss_vit-tiny-p8_tiny-imagenet.py'

model = dict(
    teacher=__import__('lfi').teacher_config(
        'clip-b16',
        concepts=dict(type='lfi.TinyImageNet', data_root={{_base_.data_root}}),
        max_concepts=16,
    ),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)
