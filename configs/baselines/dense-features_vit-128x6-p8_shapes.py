# The student of lfi_vit-128x6-p8_shapes.py copies the teacher's standardised features of each location.
#   python tools/train.py configs/baselines/dense-features_vit-128x6-p8_shapes.py
_base_ = './task-loss_vit-128x6-p8_shapes.py'

model = dict(
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    supervision=dict(dense_features=dict(type='lfi.DenseFeatures', loss_weight=8.0)),
)
