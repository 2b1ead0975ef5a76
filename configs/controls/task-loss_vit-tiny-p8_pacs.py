# ViT-Tiny/8 on all domains of PACS but one, 64 px, from scratch, task loss alone: the control of
# lfi_vit-tiny-p8_lit-lite0_pacs.py. tools/benchmark_dg.py runs both for each domain.
#   LFI_DATA_ROOT=data LFI_TARGET_DOMAIN=sketch python tools/train.py configs/controls/task-loss_vit-tiny-p8_pacs.py
_base_ = [
    '../_base_/models/vit-tiny-p8_64.py',
    '../_base_/datasets/pacs_64.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    head=dict(
        num_classes={{_base_.num_classes}},
        loss=dict(num_classes={{_base_.num_classes}}),
    )
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=32)
# DomainBed's training-domain validation: the target domain has no say.
default_hooks = dict(checkpoint=dict(save_best='domain/mean', rule='greater'))
