# Mask R-CNN that learns from interactions on COCO: ViT-Base/16 from MAE's weights, 12 epochs, CLIP ViT-B/16 as
# teacher. Other sizes and schedules are in detection/, the baseline in baselines/.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/lfi_mask-rcnn_coco.py 8
# All that belongs to learning from interactions is written out. Neck, heads, data and schedule are the baseline's.
_base_ = './baselines/task-loss_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py'

model = dict(
    type='lfi.Student',
    task='mmdet.MaskRCNN',
    # Asked about each concept that the teacher is asked about. This is the baseline's student: ViTDet's windows, four
    # global blocks and relative positions.
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
        # 28 x 28 locations; an image's own categories, then those that CLIP finds likeliest.
        input_size=448,
        concepts=dict(type='mmdet.CocoDataset'),
        max_concepts=16,
    ),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # Beside a detector's own losses, which are small.
            loss=dict(
                type='lfi.InteractionDistillLoss',
                spatial_weight=0.5,
                semantic_weight=1.0,
                presence_weight=0.5,
            ),
        ),
    ),
)
