# A small ViT on all domains of the built-in Shapes data but one, task loss alone: the baseline of
# lfi_vit-tiny_shapes-domains.py. python -m research benchmark-dg runs both for each domain.
#   LFI_TARGET_DOMAIN=sketch python tools/train.py configs/baselines/task-loss_vit-tiny_shapes-domains.py
_base_ = '../_base_/recipes/vit-tiny_shapes-domains.py'
