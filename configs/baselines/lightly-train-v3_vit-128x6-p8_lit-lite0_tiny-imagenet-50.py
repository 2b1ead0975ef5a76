# The student of lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
# copies which locations, and which images, are alike.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/baselines/lightly-train-v3_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
_base_ = '../_base_/feature_distillation/vit-128x6-p8_lit-lite0_tiny-imagenet-50.py'

model = dict(
    distill_loss=dict(
        type='lfi.LightlyTrainLoss', student_dims=128, teacher_dims=512, queue_size=512, loss_weight=2.0
    )
)
