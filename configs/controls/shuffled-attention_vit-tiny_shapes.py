# attention-transfer_vit-tiny_shapes.py with the teacher's features of another image.
#   python tools/train.py configs/controls/shuffled-attention_vit-tiny_shapes.py
_base_ = './attention-transfer_vit-tiny_shapes.py'

model = dict(type='lfi.ShuffledFeaturesClassifier')
