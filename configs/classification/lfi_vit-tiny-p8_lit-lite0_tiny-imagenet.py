# ViT-Tiny/8 on Tiny-ImageNet, 64 px, from scratch, learning from a small teacher for CPUs.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py
_base_ = '../baselines/task-loss_vit-tiny-p8_tiny-imagenet.py'

model = dict(
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(type='lfi.TinyImageNet', data_root={{_base_.data_root}}),
        max_concepts=16,
        input_size=160,
    ),
    readout=dict(text_dims=512),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)
