# Conditional DETR on COCO, ResNet-50 from ImageNet weights, 50 epochs, by mmdet's own recipe:
# task loss alone, the baseline of lfi_conditional-detr_r50_50e_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_conditional-detr_r50_50e_coco.py 8
_base_ = 'mmdet::conditional_detr/conditional-detr_r50_8xb2-50e_coco.py'

custom_imports = dict(imports=['lfi'], allow_failed_imports=False)
default_hooks = dict(
    non_finite=dict(type='lfi.NonFiniteHook'), concept_check=dict(type='lfi.ConceptCheckHook')
)
data_root = '{{$LFI_DATA_ROOT:data}}/coco/'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
