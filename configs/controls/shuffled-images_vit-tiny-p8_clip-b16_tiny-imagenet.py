# lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py with the teacher's maps of another image.
#   LFI_DATA_ROOT=data python tools/train.py configs/controls/shuffled-images_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = '../classification/lfi_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(type='lfi.ShuffledImagesClassifier')
