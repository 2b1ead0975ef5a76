# The student of lfi_vit-tiny_shapes.py copies which locations, and which images, are alike.
#   python tools/train.py configs/baselines/lightly-train-v3_vit-tiny_shapes.py
_base_ = './queries_vit-tiny_shapes.py'

model = dict(
    type='lfi.FeatureDistillClassifier',
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    distill_loss=dict(
        type='lfi.LightlyTrainLoss', student_dims=128, teacher_dims=96, queue_size=1024, loss_weight=2.0
    ),
)
