# The student of lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
# copies which locations of the teacher's features attend to which.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/baselines/attention-transfer_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py
_base_ = '../_base_/feature_distillation/vit-128x6-p8_lit-lite0_tiny-imagenet-50.py'

model = dict(distill_loss=dict(type='lfi.AttentionTransferLoss', loss_weight=2.0))
