# The student of lfi_vit-tiny_shapes.py copies the teacher's zero-shot class probabilities.
#   python tools/train.py configs/baselines/logit-kd_vit-tiny_shapes.py
_base_ = '../_base_/feature_distillation/vit-tiny_shapes.py'

model = dict(distill_loss=dict(type='lfi.LogitKDLoss', loss_weight=1.0))
