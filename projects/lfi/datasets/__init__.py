"""Data sets, a sampler, and transforms. They import `structures` and `concepts`, and no model."""

from .cifar import CIFAR10, CIFAR100
from .domain_folders import PACS, VLCS, leave_out
from .few_labels import FewLabels
from .image_folder import ImageFolder
from .labelled_images import LabelledShareSampler
from .regions import AnnotatedObjects, objects_of, regions_of
from .semi_supervised import SemiSupervisedDataset
from .shapes import Shapes
from .tar_shards import WebDataset
from .tiny_imagenet import TinyImageNet
from .transforms import LoadCaptionConcepts, LoadHeatMap, LoadInteractionMaps, LoadRegions, RecordView
from .unaugmented import unaugmented, with_recorded_views

__all__ = [
    'AnnotatedObjects',
    'CIFAR10',
    'CIFAR100',
    'FewLabels',
    'ImageFolder',
    'LabelledShareSampler',
    'LoadCaptionConcepts',
    'LoadHeatMap',
    'LoadInteractionMaps',
    'LoadRegions',
    'PACS',
    'RecordView',
    'SemiSupervisedDataset',
    'Shapes',
    'TinyImageNet',
    'VLCS',
    'WebDataset',
    'leave_out',
    'objects_of',
    'regions_of',
    'unaugmented',
    'with_recorded_views',
]
