# The student of lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py with its teacher's features to learn from.
_base_ = '../recipes/vit-tiny-p8_tiny-imagenet.py'

model = dict(
    type='lfi.FeatureDistillClassifier',
    teacher=__import__('lfi').teacher_config(
        'clip-b16',
        concepts=dict(type='lfi.TinyImageNet', data_root={{_base_.data_root}}),
    ),
)
