# The first 20 classes in wnids.txt with 100 images each, for studies on a CPU. Published tables used a wnids.txt of 50
# classes in alphabetical order; research/results.md lists the 20 classes.
_base_ = './tiny-imagenet_64.py'

# Variables of a base cannot be used in expressions.
data_root = '{{$LFI_DATA_ROOT:data}}/tiny-imagenet-200'
max_classes = 20
num_classes = __import__('lfi.datasets', fromlist=['TinyImageNet']).TinyImageNet.count_classes(
    data_root, max_classes
)
data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(batch_size=16, dataset=dict(max_classes=max_classes, images_per_class=100))
val_dataloader = dict(batch_size=200, dataset=dict(max_classes=max_classes))
test_dataloader = dict(batch_size=200, dataset=dict(max_classes=max_classes))
