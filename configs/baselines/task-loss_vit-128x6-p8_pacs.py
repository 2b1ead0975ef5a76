# A ViT 128 wide and 6 blocks deep on all domains of PACS but one, 64 px, from scratch, task loss alone: the baseline of
# lfi_vit-128x6-p8_lit-lite0_pacs.py. python -m research benchmark-dg runs both for each domain.
#   LFI_DATA_ROOT=data LFI_TARGET_DOMAIN=sketch python tools/train.py configs/baselines/task-loss_vit-128x6-p8_pacs.py
_base_ = [
    '../_base_/models/vit-128x6-p8_64.py',
    '../_base_/datasets/pacs_64.py',
    '../_base_/schedules/adamw_40e.py',
    '../_base_/domains_runtime.py',
]
model = dict(head=dict(num_classes={{_base_.num_classes}}, loss=dict(num_classes={{_base_.num_classes}})))
