# A small ViT on the built-in Shapes data, learning from the built-in teacher's interactions.
#   python tools/train.py configs/classification/lfi_vit-tiny_shapes.py
_base_ = '../baselines/task-loss_vit-tiny_shapes.py'

model = dict(
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    readout=dict(text_dims=96),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # With a background in the bank locations are best read by a concept's share.
            reading=dict(positions_reading='share', presence='best-location'),
        ),
    ),
)
