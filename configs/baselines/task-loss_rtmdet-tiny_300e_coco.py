# RTMDet-tiny on COCO, 300 epochs:
# task loss alone, the baseline of lfi_rtmdet-tiny_300e_coco.py.
#   LFI_DATA_ROOT=data tools/dist_train.sh configs/baselines/task-loss_rtmdet-tiny_300e_coco.py 8
_base_ = '../_base_/recipes/rtmdet-tiny_300e_coco.py'
