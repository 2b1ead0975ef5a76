# Localization of COCO's categories by a small teacher, against their masks.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints lfi eval-teacher configs/teachers/lit-lite0_coco.py
default_scope = 'mmdet'
custom_imports = dict(imports=['lfi'], allow_failed_imports=False)

model = dict(
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(type='mmdet.CocoDataset'),
        input_size=448,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _scope_='mmdet',
        type='CocoDataset',
        data_root='{{$LFI_DATA_ROOT:data}}/coco',
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017'),
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='PackDetInputs'),
        ],
    )
)
