# The student of lfi_vit-tiny_shapes.py copies which locations of the teacher's features attend to which.
#   python tools/train.py configs/baselines/attention-transfer_vit-tiny_shapes.py
_base_ = './queries_vit-tiny_shapes.py'

model = dict(
    type='lfi.FeatureDistillClassifier',
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    distill_loss=dict(type='lfi.AttentionTransferLoss', loss_weight=2.0),
)
