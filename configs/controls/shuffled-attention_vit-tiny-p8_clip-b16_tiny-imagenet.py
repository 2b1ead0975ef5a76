# attention-transfer_vit-tiny-p8_clip-b16_tiny-imagenet.py with the teacher's features of another image.
#   LFI_DATA_ROOT=data python tools/train.py configs/controls/shuffled-attention_vit-tiny-p8_clip-b16_tiny-imagenet.py
_base_ = './attention-transfer_vit-tiny-p8_clip-b16_tiny-imagenet.py'

model = dict(type='lfi.ShuffledFeaturesClassifier')
