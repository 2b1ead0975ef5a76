# The student of lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py copies the teacher's standardised features of
# each location. With all labels this baseline is ahead of LFI.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/baselines/dense-features_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py
_base_ = './task-loss_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py'

model = dict(
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(
            type='lfi.TinyImageNet', data_root={{_base_.data_root}}, max_classes={{_base_.max_classes}}
        ),
        input_size=320,
    ),
    supervision=dict(dense_features=dict(type='lfi.DenseFeatures', loss_weight=32.0, teacher_dims=512)),
)
