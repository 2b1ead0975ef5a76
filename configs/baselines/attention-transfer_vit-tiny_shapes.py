# The student of lfi_vit-tiny_shapes.py copies which locations of the teacher's features attend to which.
#   python tools/train.py configs/baselines/attention-transfer_vit-tiny_shapes.py
_base_ = './task-loss_vit-tiny_shapes.py'

model = dict(
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    supervision=dict(affinity=dict(type='lfi.PairwiseAffinity', loss_weight=8.0)),
)
