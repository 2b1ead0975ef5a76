# A ViT 128 wide and 6 blocks deep on Tiny-ImageNet, 64 px, from scratch, learning from a small teacher.
# configs/domain_generalization/zero-shot_* test this student on PACS and VLCS.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet.py
_base_ = '../baselines/task-loss_vit-128x6-p8_tiny-imagenet.py'

model = dict(
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(type='lfi.TinyImageNet', data_root={{_base_.data_root}}),
        max_concepts=16,
        input_size=160,
    ),
    readout=dict(text_dims=512),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            loss=dict(spatial_weight=2.0, semantic_weight=4.0, presence_weight=2.0),
        ),
    ),
)
