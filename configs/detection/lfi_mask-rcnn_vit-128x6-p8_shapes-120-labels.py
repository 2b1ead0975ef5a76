# A small Mask R-CNN on the built-in Shapes data, with labels for 120 images and none for 1,080, which learn
# from the built-in teacher's interactions and from the prior.
#   python tools/train.py configs/detection/lfi_mask-rcnn_vit-128x6-p8_shapes-120-labels.py
_base_ = './lfi_mask-rcnn_vit-128x6-p8_shapes.py'

# Higher weights, since most images have targets of the teacher alone.
model = dict(
    supervision=dict(
        interactions=dict(loss=dict(spatial_weight=2.0, semantic_weight=4.0, presence_weight=2.0))
    )
)
train_dataloader = dict(
    # Half of each batch has labels.
    sampler=dict(_delete_=True, type='lfi.LabelledShareSampler', labelled_share=0.5),
    dataset=dict(
        _delete_=True,
        type='lfi.FewLabels',
        labelled_images=120,
        dataset={{_base_.train_dataloader.dataset}},
    ),
)
