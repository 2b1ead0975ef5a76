# Mask R-CNN that learns from interactions on COCO: ViT-Base/16 from MAE's weights, 12 epochs, CLIP ViT-B/16 as
# teacher. Other sizes and schedules are in detection/, the baseline in baselines/.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/lfi_mask-rcnn_coco.py 8
# Options of learning from interactions are written out. Neck, heads, data and schedule are those of the baseline.
_base_ = './baselines/task-loss_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py'

model = dict(
    type='lfi.Student',
    task='mmdet.MaskRCNN',
    # Backbone of the baseline: ViTDet with windows, four global blocks and relative positions. The student is asked
    # about the same concepts as the teacher.
    backbone=dict(
        type='lfi.InteractionQueryViT',
        arch='base',
        img_size=1024,
        patch_size=16,
        window_size=14,
        global_attn_layers=[2, 5, 8, 11],
        use_rel_pos=True,
    ),
    teacher=dict(
        type='lfi.VLMAttentionTeacher',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        extractor=dict(type='clearclip'),
        # 28 x 28 locations. Concepts are the categories of the image, then those that CLIP ranks highest.
        input_size=448,
        concepts=dict(type='mmdet.CocoDataset'),
        max_concepts=16,
    ),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # Lower weights, since the losses of a detector are small.
            loss=dict(
                type='lfi.InteractionDistillLoss',
                spatial_weight=0.5,
                semantic_weight=1.0,
                presence_weight=0.5,
            ),
        ),
    ),
)
