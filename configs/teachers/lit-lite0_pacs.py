# Zero-shot accuracy of a small teacher on PACS, for all domains on disk.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints lfi eval-teacher configs/teachers/lit-lite0_pacs.py
default_scope = 'mmpretrain'
custom_imports = dict(imports=['lfi'], allow_failed_imports=False)

model = dict(
    teacher=__import__('lfi').teacher_config(
        'lit-lite0',
        concepts=dict(type='lfi.PACS'),
        templates=['a photo of a {}.'],
        input_size=224,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _scope_='mmpretrain',
        type='lfi.PACS',
        data_root='{{$LFI_DATA_ROOT:data}}/PACS',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    )
)
