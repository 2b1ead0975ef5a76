# The student of lfi_vit-tiny_shapes.py with its teacher's features to learn from.
_base_ = '../../baselines/task-loss_vit-tiny_shapes.py'

model = dict(
    type='lfi.FeatureDistillClassifier',
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
)
