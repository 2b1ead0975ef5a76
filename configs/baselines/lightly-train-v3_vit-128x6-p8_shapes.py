# The student of lfi_vit-128x6-p8_shapes.py copies the similarities of locations and of images.
#   python tools/train.py configs/baselines/lightly-train-v3_vit-128x6-p8_shapes.py
_base_ = './task-loss_vit-128x6-p8_shapes.py'

model = dict(
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    supervision=dict(lightly_train=dict(type='lfi.LightlyTrain', queue_size=1024, loss_weight=0.125)),
)
