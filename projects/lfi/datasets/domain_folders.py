"""Data sets of several domains, in DomainBed's layout: `<data_root>/<domain>/<class>/*`."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from lfi.concepts.names import first_misplaced_name
from lfi.registry import DATASETS

SPLITS = ('train', 'val', 'all')
VAL_SHARE = 0.2


def holdout(n: int, seed: int, index: int) -> tuple[list[int], list[int]]:
    """Split the n sorted files of a domain: the first fifth of a permutation is for validation.

    The split equals DomainBed's with `--trial_seed` at the same seed (Gulrajani and Lopez-Paz, "In Search of
    Lost Domain Generalization", ICLR 2021; `domainbed/scripts/train.py`).

    Args:
        n: number of files.
        seed: seed of the permutation.
        index: index of the domain in the data set. Each domain has its own permutation.

    Returns:
        The indices of the training images and of the validation images, each in ascending order.
    """
    domain_seed = int(md5(str((seed, index)).encode()).hexdigest(), 16) % 2**31
    # DomainBed uses this legacy generator. A newer one gives another split.
    order = np.random.RandomState(domain_seed).permutation(n).tolist()
    n_val = int(n * VAL_SHARE)
    return sorted(order[n_val:]), sorted(order[:n_val])


def leave_out(domains: Sequence[str], target: str) -> list[str]:
    """Return all domains except the target.

    Raises:
        ValueError: if the target is not among the domains.
    """
    if target not in domains:
        raise ValueError(
            f'target_domain={target!r} is unknown: set it to one of {list(domains)}; in our configs '
            'LFI_TARGET_DOMAIN sets it'
        )
    return [domain for domain in domains if domain != target]


class DomainFolders(BaseDataset):
    """Base class of data sets with the same classes in several domains.

    A subclass lists its domains in `DOMAINS` and its classes in `METAINFO`, in DomainBed's order. Folders of
    classes or domains may be missing. Each data info holds `img_path`, `gt_label` and `domain` (str).

    Args:
        data_root: Folder that holds a folder for each domain.
        domains: One or more names of domains. Defaults to None: all domains that have a folder.
        split: `'train'` or `'val'`, four fifths and one fifth of each domain, as `holdout` splits them; or
            `'all'`. Defaults to `'all'`.
        seed: Seed of the split. Defaults to 0.
        pipeline: Transforms. A type without a scope is mmpretrain's. Defaults to ().
        **kwargs: Arguments of `mmpretrain.datasets.BaseDataset`: `classes`, `indices`, `test_mode`, ...

    Raises:
        FileNotFoundError: If `data_root` has no domain, or lacks one that `domains` names.
        ValueError: If the split is unknown or leaves no image of a domain, or if the argument `classes` has
            another length or order than the class folders.
    """

    DOMAINS: tuple[str, ...] = ()

    def __init__(
        self,
        data_root: str | Path,
        domains: str | Sequence[str] | None = None,
        split: str = 'all',
        seed: int = 0,
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split={split!r} is unknown; use one of {SPLITS}')
        self.split, self.seed = split, seed
        self.domains = self._select_domains(data_root, domains)
        root = str(Path(data_root).expanduser())
        super().__init__(ann_file='', data_root=root, pipeline=pipeline, **kwargs)

    @classmethod
    def class_names(cls) -> list[str]:
        """Return the class names in the order of their labels."""
        return list(cls.METAINFO['classes'])

    @classmethod
    def existing_domains(cls, data_root: str | Path) -> list[str]:
        """Return the domains that have a folder, in the order of `DOMAINS`."""
        root = Path(data_root).expanduser()
        return [domain for domain in cls.DOMAINS if (root / domain).is_dir()]

    @classmethod
    def source_domains(cls, data_root: str | Path, target: str) -> list[str]:
        """Return the domains except the target: those that have a folder, or all of `DOMAINS` if none has.

        Raises:
            ValueError: if the target is not among the domains.
        """
        return leave_out(cls.existing_domains(data_root) or cls.DOMAINS, target)

    def load_data_list(self) -> list[dict]:
        """Return one data info for each image, domain by domain."""
        labels = {name: label for label, name in enumerate(self.class_names())}
        self._check_classes()
        infos = []
        for domain in self.domains:
            # DomainBed sorts by class, then by name.
            files = make_dataset(Path(self.data_root, domain), labels, IMG_EXTENSIONS, allow_empty=True)
            indices = self._split_indices(len(files), self.DOMAINS.index(domain))
            if not indices:
                raise ValueError(
                    f'{Path(self.data_root, domain)} has {len(files)} images in the folders '
                    f'{", ".join(labels)}, which leaves none for split={self.split!r}'
                )
            infos += [dict(img_path=files[i][0], gt_label=files[i][1], domain=domain) for i in indices]
        return infos

    def _check_classes(self) -> None:
        """Check that the metainfo's `classes` have the number and order of the class folders."""
        folders = self.class_names()
        names = list(self.metainfo.get('classes') or folders)
        if len(names) != len(folders) or first_misplaced_name(names, folders):
            raise ValueError(f'classes={names} must name the folders {folders} in this order')

    def _split_indices(self, n: int, index: int) -> Sequence[int]:
        if self.split == 'all':
            return range(n)
        train, val = holdout(n, self.seed, index)
        return train if self.split == 'train' else val

    def _select_domains(self, data_root: str | Path, domains: str | Sequence[str] | None) -> list[str]:
        existing = self.existing_domains(data_root)
        domains = [domains] if isinstance(domains, str) else list(existing if domains is None else domains)
        name = type(self).__name__
        missing = [domain for domain in domains if domain not in existing]
        if missing or not domains:
            raise FileNotFoundError(
                f'data_root={str(data_root)!r} lacks {", ".join(missing) or "every domain"}; of the domains '
                f'of {name} ({", ".join(self.DOMAINS)}) it has {", ".join(existing) or "none"}. With the '
                f'configs of LFI set LFI_DATA_ROOT to the folder that holds {name}'
            )
        return domains

    def extra_repr(self) -> list[str]:
        """Return extra lines for the description of the data set."""
        return [*super().extra_repr(), f'Domains: \t{", ".join(self.domains)}', f'Split: \t{self.split}']


@DATASETS.register_module()
class PACS(DomainFolders):
    """PACS (Li et al., ICCV 2017): seven classes in four styles. Arguments: see `DomainFolders`."""

    METAINFO = dict(classes=('dog', 'elephant', 'giraffe', 'guitar', 'horse', 'house', 'person'))
    DOMAINS = ('art_painting', 'cartoon', 'photo', 'sketch')


@DATASETS.register_module()
class VLCS(DomainFolders):
    """VLCS (Fang et al., ICCV 2013): five classes from four collections. Arguments: see `DomainFolders`."""

    METAINFO = dict(classes=('bird', 'car', 'chair', 'dog', 'person'))
    DOMAINS = ('Caltech101', 'LabelMe', 'SUN09', 'VOC2007')
