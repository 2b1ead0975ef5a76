# The student of lfi_vit-tiny_shapes.py copies the teacher's standardised features of each location.
#   python tools/train.py configs/baselines/dense-features_vit-tiny_shapes.py
_base_ = '../_base_/feature_distillation/vit-tiny_shapes.py'

model = dict(
    distill_loss=dict(type='lfi.DenseFeaturesLoss', student_dims=128, teacher_dims=96, loss_weight=8.0)
)
