# The student of lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py copies which locations, and which images, are alike.
#   LFI_DATA_ROOT=data python tools/train.py configs/baselines/lightly-train-v3_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../_base_/feature_distillation/vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(
    distill_loss=dict(type='lfi.LightlyTrainLoss', student_dims=192, teacher_dims=512, queue_size=8192)
)
