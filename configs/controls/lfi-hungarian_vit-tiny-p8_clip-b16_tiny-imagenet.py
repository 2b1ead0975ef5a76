# lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py with queries matched to concepts one to one.
#   LFI_DATA_ROOT=data python tools/train.py configs/controls/lfi-hungarian_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(readout=dict(assign='hungarian'))
