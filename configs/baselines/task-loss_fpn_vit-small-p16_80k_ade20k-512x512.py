# Semantic FPN on ADE20K, ViT-Small/16 from DeiT's weights, task loss alone: the baseline of
# lfi_fpn_vit-small-p16_80k_ade20k-512x512.py. It needs mmsegmentation (pip install onedl-mmsegmentation).
#   tools/dist_train.sh configs/baselines/task-loss_fpn_vit-small-p16_80k_ade20k-512x512.py 4
_base_ = '../_base_/recipes/fpn_vit-small-p16_80k_ade20k-512x512.py'
