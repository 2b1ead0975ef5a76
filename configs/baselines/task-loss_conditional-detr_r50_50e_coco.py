# Conditional DETR on COCO, ResNet-50, 50 epochs:
# task loss alone, the baseline of lfi_conditional-detr_r50_50e_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_conditional-detr_r50_50e_coco.py 8
_base_ = '../_base_/recipes/conditional-detr_r50_50e_coco.py'
