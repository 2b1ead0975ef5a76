# The student of lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
# copies the teacher's zero-shot class probabilities.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/baselines/logit-kd_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
_base_ = '../_base_/feature_distillation/vit-128x6-p8_lit-lite0_tiny-imagenet-50.py'

model = dict(distill_loss=dict(type='lfi.LogitKDLoss', loss_weight=1.0))
