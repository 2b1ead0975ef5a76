# The student of lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py copies the teacher's zero-shot probabilities.
#   LFI_DATA_ROOT=data python tools/train.py configs/baselines/logit-kd_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../_base_/feature_distillation/vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(distill_loss=dict(type='lfi.LogitKDLoss'))
