# A ViT 128 wide and 6 blocks deep on all domains of PACS but one, 64 px, from scratch.
_base_ = [
    '../models/vit-128x6-p8_64.py',
    '../datasets/pacs_64.py',
    '../schedules/adamw_40e.py',
    '../domains_runtime.py',
]
model = dict(head=dict(num_classes={{_base_.num_classes}}, loss=dict(num_classes={{_base_.num_classes}})))
