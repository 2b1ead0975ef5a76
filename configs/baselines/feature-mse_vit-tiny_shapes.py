# The student of lfi_vit-tiny_shapes.py copies the teacher's image embedding.
#   python tools/train.py configs/baselines/feature-mse_vit-tiny_shapes.py
_base_ = './task-loss_vit-tiny_shapes.py'

model = dict(
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    supervision=dict(feature_mse=dict(type='lfi.FeatureMSE', loss_weight=0.5)),
)
