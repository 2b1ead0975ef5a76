# lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py without the class loss in the text space.
#   LFI_DATA_ROOT=data python tools/train.py configs/controls/lfi-no-text-class_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(text_class_loss=None)
