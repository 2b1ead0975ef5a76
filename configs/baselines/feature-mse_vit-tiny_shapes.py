# The student of lfi_vit-tiny_shapes.py copies the teacher's image embedding.
#   python tools/train.py configs/baselines/feature-mse_vit-tiny_shapes.py
_base_ = '../_base_/feature_distillation/vit-tiny_shapes.py'

model = dict(distill_loss=dict(type='lfi.FeatureMSELoss', student_dims=128, teacher_dims=96, loss_weight=0.5))
