# A small ViT on all domains of the built-in Shapes data but one, learning from the built-in teacher, which was trained
# on all four domains.
#   LFI_TARGET_DOMAIN=sketch python tools/train.py configs/domain_generalization/lfi_vit-128x6-p8_shapes-domains.py
_base_ = '../baselines/task-loss_vit-128x6-p8_shapes-domains.py'

model = dict(
    teacher=__import__('lfi').teacher_config(
        'shapes-tiny',
        templates=['a photo of a {}.'],
    ),
    readout=dict(text_dims=96),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # With a background concept, the softmax over concepts localizes best.
            reading=dict(spatial_reading='concept_softmax', presence='best-location'),
        ),
    ),
)
