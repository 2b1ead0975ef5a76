# The student of lfi_vit-tiny_shapes.py copies the teacher's standardised features of each location.
#   python tools/train.py configs/baselines/dense-features_vit-tiny_shapes.py
_base_ = './queries_vit-tiny_shapes.py'

model = dict(
    type='lfi.FeatureDistillClassifier',
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    distill_loss=dict(type='lfi.DenseFeaturesLoss', student_dims=128, teacher_dims=96, loss_weight=2.0),
)
