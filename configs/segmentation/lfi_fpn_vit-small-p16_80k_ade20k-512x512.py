# Semantic FPN on ADE20K, ViT-Small/16 from DeiT's weights, learning from CLIP ViT-B/16's interactions.
# It needs mmsegmentation (pip install onedl-mmsegmentation).
#   tools/dist_train.sh configs/segmentation/lfi_fpn_vit-small-p16_80k_ade20k-512x512.py 4
_base_ = '../_base_/recipes/fpn_vit-small-p16_80k_ade20k-512x512.py'

model = dict(
    type='lfi.LFIEncoderDecoder',
    backbone=dict(num_queries=8),
    teacher=dict(
        type='lfi.VLMAttentionTeacher',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        extractor=dict(type='clearclip'),
        concepts=dict(type='mmseg.ADE20KDataset'),
        input_size=448,
        max_concepts=16,
    ),
    readout=dict(text_dims=512),
)
