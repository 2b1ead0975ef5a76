# Mask R-CNN on COCO at 320 px, ViT-Tiny/16 from scratch, for a trial on a CPU, learning from the interactions of
# a small local teacher.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints tools/dist_train.sh \
#       configs/detection/lfi_mask-rcnn_vit-tiny-p16_lit-lite0_320px_coco.py 2
_base_ = '../baselines/task-loss_mask-rcnn_vit-tiny-p16_320px_coco.py'

model = dict(
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(type='mmdet.CocoDataset'),
        input_size=320,
        max_concepts=16,
    ),
    readout=dict(text_dims=512),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # Lower weights, since the losses of a detector are small.
            loss=dict(spatial_weight=0.5, semantic_weight=1.0, presence_weight=0.5),
        ),
    ),
)
