# Swin-Tiny on ImageNet-1k by mmpretrain's own recipe, task loss alone: the baseline of
# lfi_swin-tiny_clip-b16_imagenet.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_swin-tiny_imagenet.py 16
_base_ = 'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'

custom_imports = dict(imports=['lfi'], allow_failed_imports=False)
data_root = '{{$LFI_DATA_ROOT:data}}/imagenet'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
default_hooks = dict(
    non_finite=dict(type='lfi.NonFiniteHook'), concept_check=dict(type='lfi.ConceptCheckHook')
)
