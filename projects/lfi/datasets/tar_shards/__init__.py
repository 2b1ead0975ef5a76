"""Images in tar shards, as the library webdataset reads them.

`samples` reads the images of a tar file, and `annotations` their labels. `web_dataset` is the data set.
"""

from .samples import TarSample, read_samples
from .web_dataset import WebDataset

__all__ = ['TarSample', 'WebDataset', 'read_samples']
