# Zero-shot accuracy of a small teacher on VLCS, for all domains on disk.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints lfi eval-teacher configs/teachers/lit-lite0_vlcs.py
_base_ = './lit-lite0_pacs.py'

model = dict(teacher=dict(concepts=dict(type='lfi.VLCS')))
val_dataloader = dict(dataset=dict(type='lfi.VLCS', data_root='{{$LFI_DATA_ROOT:data}}/VLCS'))
