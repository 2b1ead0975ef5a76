# attention-transfer_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py with the teacher's features of another image.
#   LFI_DATA_ROOT=data LFI_TEACHER_ROOT=checkpoints python tools/train.py \
#       configs/controls/shuffled-attention_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py
_base_ = './attention-transfer_vit-128x6-p8_lit-lite0_tiny-imagenet-20.py'

model = dict(type='lfi.ShuffledFeaturesClassifier')
