# The student of lfi_vit-tiny_shapes.py copies which locations, and which images, are alike.
#   python tools/train.py configs/baselines/lightly-train-v3_vit-tiny_shapes.py
_base_ = '../_base_/feature_distillation/vit-tiny_shapes.py'

model = dict(
    distill_loss=dict(
        type='lfi.LightlyTrainLoss', student_dims=128, teacher_dims=96, queue_size=1024, loss_weight=0.125
    )
)
