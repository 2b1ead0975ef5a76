# Zero-shot classification of PACS by presence, with a small student trained on Tiny-ImageNet.
# CHECKPOINT was trained with configs/classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet.py.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/test.py \
#       configs/domain_generalization/zero-shot_vit-128x6-p8_lit-lite0_tiny-imagenet_pacs.py CHECKPOINT
_base_ = './zero-shot_vit-tiny-p8_lit-lite0_tiny-imagenet_pacs.py'

model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256)
    )
)
