# mmpretrain's DeiT-Tiny learns from interactions; in place of ImageNet it reads the data that come with LFI.
_base_ = 'mmpretrain::deit/deit-tiny_4xb256_in1k.py'

# What makes it an LFI config.
custom_imports = dict(imports=['lfi'], allow_failed_imports=False)
model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    backbone=dict(type='lfi.InteractionQueryViT'),
    teacher=dict(
        type='lfi.VLMAttentionTeacher',
        model='shapes-tiny',
        extractor=dict(type='dense'),
        concepts=dict(type='lfi.Shapes'),
    ),
    supervision=dict(interactions=dict(type='lfi.Interactions')),
)

# What makes it small.
model.update(
    backbone=dict(type='lfi.InteractionQueryViT', img_size=64),
    head=dict(num_classes=20, loss=dict(num_classes=20)),
    init_cfg=None,
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)]),
)
data_preprocessor = dict(num_classes=20, mean=[127.5] * 3, std=[64.0] * 3, to_rgb=True)
shapes = dict(_delete_=True, type='lfi.Shapes', pipeline=[dict(type='PackInputs')])
train_dataloader = dict(batch_size=8, dataset=dict(**shapes, split='train', num_images=64))
val_dataloader = dict(batch_size=8, dataset=dict(**shapes, split='val', num_images=16))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, end=4, by_epoch=False)]
