# FSDP: parameters, gradients and optimizer state sharded over the processes. Add this file to the bases of a config.
#   _base_ = ['../detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py', '../_base_/strategies/fsdp.py']
runner_type = 'FlexibleRunner'
strategy = dict(type='lfi.FSDPStrategy')
