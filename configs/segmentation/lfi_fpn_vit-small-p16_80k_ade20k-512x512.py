# Semantic FPN on ADE20K, ViT-Small/16 from DeiT's weights, learning from CLIP ViT-B/16's interactions.
# It needs mmsegmentation (pip install onedl-mmsegmentation).
#   tools/dist_train.sh configs/segmentation/lfi_fpn_vit-small-p16_80k_ade20k-512x512.py 4
_base_ = '../baselines/task-loss_fpn_vit-small-p16_80k_ade20k-512x512.py'

model = dict(
    type='lfi.Student',
    task='mmseg.EncoderDecoder',
    teacher=__import__('lfi').teacher_config('clip-b16_448', concepts=dict(type='mmseg.ADE20KDataset')),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)
