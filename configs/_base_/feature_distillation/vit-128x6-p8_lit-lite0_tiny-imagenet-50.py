# The student of lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-50.py with its teacher's features to learn from.
_base_ = '../recipes/vit-128x6-p8_tiny-imagenet-50.py'

model = dict(
    type='lfi.FeatureDistillClassifier',
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(
            type='lfi.TinyImageNet', data_root={{_base_.data_root}}, max_classes={{_base_.max_classes}}
        ),
        input_size=320,
    ),
)
