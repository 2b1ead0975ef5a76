# The first 20 classes that wnids.txt lists and 100 images of each, for studies on a CPU. Published tables are of a
# wnids.txt in alphabetical order of 50 classes: docs/results.md names the 20.
_base_ = './tiny-imagenet_64.py'

# A base's variable cannot be used in an expression.
data_root = '{{$LFI_DATA_ROOT:data}}/tiny-imagenet-200'
max_classes = 20
num_classes = __import__('lfi.datasets', fromlist=['TinyImageNet']).TinyImageNet.count_classes(
    data_root, max_classes
)
data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(batch_size=16, dataset=dict(max_classes=max_classes, images_per_class=100))
val_dataloader = dict(batch_size=200, dataset=dict(max_classes=max_classes))
test_dataloader = dict(batch_size=200, dataset=dict(max_classes=max_classes))
