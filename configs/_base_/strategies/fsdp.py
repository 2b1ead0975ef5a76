# Parameters, gradients and optimizer state shared out over the processes: put this file among a config's bases.
#   _base_ = ['../detection/lfi_mask-rcnn_vit-base-p16_simple-fpn_1x_coco.py', '../_base_/strategies/fsdp.py']
runner_type = 'FlexibleRunner'
strategy = dict(type='lfi.FSDPStrategy')
