# A small ViT on the built-in Shapes data with Mixup and CutMix, learning from the built-in teacher's interactions.
# Online, the teacher sees the mixed images. With a cache, the maps of two images are mixed like the images.
#   lfi cache configs/classification/lfi_vit-128x6-p8-mixed_shapes.py --out work_dirs/cache
#   python tools/train.py configs/classification/lfi_vit-128x6-p8-mixed_shapes.py --cfg-options \
#       model.teacher.cache=work_dirs/cache
_base_ = '../baselines/task-loss_vit-128x6-p8-mixed_shapes.py'

model = dict(
    teacher=__import__('lfi').teacher_config('shapes-tiny'),
    readout=dict(text_dims=96),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # With a background concept, the softmax over concepts localizes best.
            reading=dict(spatial_reading='concept_softmax', presence='best-location'),
        ),
    ),
)
