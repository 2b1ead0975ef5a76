# lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py with the places of the teacher's maps shuffled.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/controls/shuffled-places_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py
_base_ = '../classification/lfi_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py'

model = dict(type='lfi.ShuffledPlacesClassifier')
