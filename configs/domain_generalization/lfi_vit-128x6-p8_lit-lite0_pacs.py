# A ViT 128 wide and 6 blocks deep on all domains of PACS but one, 64 px, from scratch, learning from a small teacher.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints LFI_TARGET_DOMAIN=sketch python tools/train.py \
#       configs/domain_generalization/lfi_vit-128x6-p8_lit-lite0_pacs.py
_base_ = '../baselines/task-loss_vit-128x6-p8_pacs.py'

model = dict(
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(type='lfi.PACS'),
        templates=['a photo of a {}.'],
        input_size=224,
    ),
    readout=dict(text_dims=512),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            loss=dict(spatial_weight=2.0, semantic_weight=4.0, presence_weight=2.0),
        ),
    ),
)
