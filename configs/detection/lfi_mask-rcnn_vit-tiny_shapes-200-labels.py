# A small Mask R-CNN on the embedded Shapes data, of which 200 images have labels and 1,000 have none: these learn
# from the embedded teacher's interactions alone.
#   python tools/train.py configs/detection/lfi_mask-rcnn_vit-tiny_shapes-200-labels.py
_base_ = './lfi_mask-rcnn_vit-tiny_shapes.py'

shapes = dict(
    type='lfi.Shapes', split='train', num_images=1200, img_size=96, pipeline={{_base_.train_pipeline}}
)
train_dataloader = dict(
    # Half of each batch has labels.
    sampler=dict(_delete_=True, type='lfi.LabelledShareSampler', labelled_share=0.5),
    dataset=dict(
        _delete_=True,
        _scope_='mmdet',
        type='ConcatDataset',
        datasets=[
            dict(shapes, indices=list(range(200))),
            dict(
                type='lfi.FewLabels',
                labels_per_class=0,
                dataset=dict(shapes, indices=list(range(200, 1200))),
            ),
        ],
    ),
)
