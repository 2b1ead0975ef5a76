# ViT-Tiny/8 on Tiny-ImageNet, 64 px, from scratch, learning from a small teacher that a CPU can afford.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/classification/lfi_vit-tiny-p8_lit-lite0_tiny-imagenet.py
_base_ = './lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(
    teacher=dict(
        model='{{$LFI_TEACHER_ROOT:checkpoints}}/lit-effnet-lite0',
        pretrained=None,
        extractor=dict(type='dense'),
        input_size=160,
    ),
)
