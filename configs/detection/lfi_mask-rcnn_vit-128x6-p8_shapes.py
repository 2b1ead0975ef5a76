# A small Mask R-CNN on the built-in Shapes data, learning from the built-in teacher's interactions.
#   python tools/train.py configs/detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py
_base_ = '../baselines/task-loss_mask-rcnn_vit-128x6-p8_shapes.py'

model = dict(
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    readout=dict(text_dims=96),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # With a background concept, the softmax over concepts localizes best.
            reading=dict(spatial_reading='concept_softmax', presence='best-location'),
            # Lower weights, since the losses of a detector are small.
            loss=dict(spatial_weight=0.5, semantic_weight=1.0, presence_weight=0.5),
        ),
    ),
)
