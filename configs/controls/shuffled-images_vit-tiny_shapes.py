# lfi_vit-tiny_shapes.py with the teacher's maps of another image.
#   python tools/train.py configs/controls/shuffled-images_vit-tiny_shapes.py
_base_ = '../classification/lfi_vit-tiny_shapes.py'

model = dict(type='lfi.ShuffledImagesClassifier')
