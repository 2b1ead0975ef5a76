# A ViT 128 wide and 6 blocks deep on 50 classes of Tiny-ImageNet, 64 px, from scratch, learning from a small teacher.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
_base_ = '../baselines/task-loss_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py'

model = dict(
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(
            type='lfi.TinyImageNet', data_root={{_base_.data_root}}, max_classes={{_base_.max_classes}}
        ),
        # The student has a query for each concept that an image is asked about.
        max_concepts=16,
        input_size=320,
    ),
    readout=dict(text_dims=512),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            loss=dict(spatial_weight=2.0, semantic_weight=4.0, presence_weight=2.0),
        ),
    ),
)
