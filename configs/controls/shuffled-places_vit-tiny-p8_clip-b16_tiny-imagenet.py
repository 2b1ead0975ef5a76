# lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py with the places of the teacher's maps shuffled.
#   LFI_DATA_ROOT=data python tools/train.py configs/controls/shuffled-places_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(type='lfi.ShuffledPlacesClassifier')
