# The student of lfi_vit-tiny_shapes.py copies the teacher's zero-shot class probabilities.
#   python tools/train.py configs/baselines/logit-kd_vit-tiny_shapes.py
_base_ = './queries_vit-tiny_shapes.py'

model = dict(
    type='lfi.FeatureDistillClassifier',
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    distill_loss=dict(type='lfi.LogitKDLoss', loss_weight=16.0),
)
