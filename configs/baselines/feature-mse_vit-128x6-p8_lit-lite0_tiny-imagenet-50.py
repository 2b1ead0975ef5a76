# The student of lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
# copies the teacher's image embedding.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/baselines/feature-mse_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
_base_ = '../_base_/feature_distillation/vit-128x6-p8_lit-lite0_tiny-imagenet-50.py'

model = dict(
    distill_loss=dict(type='lfi.FeatureMSELoss', student_dims=128, teacher_dims=512, loss_weight=8.0)
)
