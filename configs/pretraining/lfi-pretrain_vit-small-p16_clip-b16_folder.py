# ViT-Small/16 on the images of any folder, without labels, pretrained by CLIP ViT-B/16's interactions.
#   python tools/train.py configs/pretraining/lfi-pretrain_vit-small-p16_clip-b16_folder.py --cfg-options data_root=FOLDER
_base_ = [
    '../_base_/datasets/folder_224.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    _scope_='mmpretrain',
    type='lfi.Student',
    # Interactions train the patches, so the image feature is their average.
    backbone=dict(
        type='lfi.InteractionQueryViT',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        out_type='avg_featmap',
        final_norm=False,
    ),
    teacher=__import__('lfi').teacher_config(
        'clip-b16',
        concepts=dict(type='lfi.ImageNetNames'),
        max_concepts=16,
    ),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)
# No labels, no validation. lfi-pretrain_vit-small-p16_clip-b16_folder-probed.py validates on a labelled folder.
val_cfg = None
# Keep the last checkpoint.
default_hooks = dict(checkpoint=dict(save_best=None))
# There is no head to check.
custom_hooks = []
