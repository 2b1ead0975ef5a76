# The student of lfi_vit-128x6-p8_shapes.py copies the teacher's zero-shot class probabilities.
#   python tools/train.py configs/baselines/logit-kd_vit-128x6-p8_shapes.py
_base_ = './task-loss_vit-128x6-p8_shapes.py'

model = dict(
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    supervision=dict(logit_kd=dict(type='lfi.LogitKD', loss_weight=1.0)),
)
