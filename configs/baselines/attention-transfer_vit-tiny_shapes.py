# The student of lfi_vit-tiny_shapes.py copies which locations of the teacher's features attend to which.
#   python tools/train.py configs/baselines/attention-transfer_vit-tiny_shapes.py
_base_ = '../_base_/feature_distillation/vit-tiny_shapes.py'

model = dict(distill_loss=dict(type='lfi.AttentionTransferLoss', loss_weight=8.0))
