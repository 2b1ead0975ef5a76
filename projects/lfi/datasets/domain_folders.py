"""Data sets of several domains, in DomainBed's layout: `<data_root>/<domain>/<class>/*`."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from lfi.concepts.names import moved_name
from lfi.registry import DATASETS

SPLITS = ('train', 'val', 'all')
HOLDOUT = 0.2


def holdout(n: int, seed: int, index: int) -> tuple[list[int], list[int]]:
    """Split a domain's n sorted files as DomainBed does: the first fifth of a permutation is for validation.

    With the same seed it is the split of DomainBed's `--trial_seed` (Gulrajani and Lopez-Paz, "In Search of
    Lost Domain Generalization", ICLR 2021; `domainbed/scripts/train.py`).

    Args:
        n: number of files.
        seed: of the permutation.
        index: of the domain among those of the data set, which permutes each in its own way.

    Returns:
        The indices of the training and of the validation images, each in ascending order.
    """
    domain_seed = int(md5(str((seed, index)).encode()).hexdigest(), 16) % 2**31
    # DomainBed's generator: a newer one would give another split.
    order = np.random.RandomState(domain_seed).permutation(n).tolist()
    n_val = int(n * HOLDOUT)
    return sorted(order[n_val:]), sorted(order[:n_val])


def leave_out(domains: Sequence[str], target: str) -> list[str]:
    """All domains but the target.

    Raises:
        ValueError: if the target is none of them.
    """
    if target not in domains:
        raise ValueError(
            f'target_domain={target!r} is not there; in our configs LFI_TARGET_DOMAIN sets it, to one of '
            f'{list(domains)}'
        )
    return [domain for domain in domains if domain != target]


class DomainFolders(BaseDataset):
    """Base class: images of the same classes in several domains.

    A subclass names its domains in `DOMAINS` and its classes in `METAINFO`, in DomainBed's order. A domain
    may lack classes, and the data set domains. Each data info holds `img_path`, `gt_label` and `domain`
    (str).

    Args:
        data_root: The folder that has the domains' folders.
        domains: The domains to use, one or more names. Defaults to None: all that are there.
        split: `'train'` or `'val'`, four fifths and one fifth of each domain by the rule of `holdout`; or
            `'all'`. Defaults to `'all'`.
        seed: Of the split. Defaults to 0.
        pipeline: Transforms, of mmpretrain unless they name a scope.
        **kwargs: Those of `mmpretrain.datasets.BaseDataset`: `indices`, `test_mode`, `lazy_init`, ...

    Raises:
        FileNotFoundError: When `data_root` has none of the domains, or lacks one that `domains` names.
        ValueError: For an unknown split, or one that leaves no image of a domain; and for `classes` that are
            other than other names for all of the data set's, in its order.
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
        self.domains = self._find(data_root, domains)
        root = str(Path(data_root).expanduser())
        super().__init__(ann_file='', data_root=root, pipeline=pipeline, **kwargs)

    @classmethod
    def class_names(cls) -> list[str]:
        """The classes, in the order of their labels."""
        return list(cls.METAINFO['classes'])

    @classmethod
    def existing_domains(cls, data_root: str | Path) -> list[str]:
        """Those of `DOMAINS` that have a folder, in their order."""
        root = Path(data_root).expanduser()
        return [domain for domain in cls.DOMAINS if (root / domain).is_dir()]

    @classmethod
    def source_domains(cls, data_root: str | Path, target: str) -> list[str]:
        """The domains that are there, but the target; all others while none is there.

        Raises:
            ValueError: if the target is none of them.
        """
        return leave_out(cls.existing_domains(data_root) or cls.DOMAINS, target)

    def load_data_list(self) -> list[dict]:
        """One data info an image, domain by domain."""
        labels = {name: label for label, name in enumerate(self.class_names())}
        self._check_names(list(labels))
        rows = []
        for domain in self.domains:
            # DomainBed's order: by class, then by name.
            files = make_dataset(Path(self.data_root, domain), labels, IMG_EXTENSIONS, allow_empty=True)
            indices = self._of_split(len(files), self.DOMAINS.index(domain))
            if not indices:
                raise ValueError(
                    f'{Path(self.data_root, domain)} has {len(files)} images in the folders '
                    f'{", ".join(labels)}: that leaves none for split={self.split!r}'
                )
            rows += [dict(img_path=files[i][0], gt_label=files[i][1], domain=domain) for i in indices]
        return rows

    def _check_names(self, folders: list[str]) -> None:
        """Refuse `classes` that give a folder another's name."""
        names = list(self.metainfo.get('classes') or folders)
        if len(names) != len(folders) or moved_name(names, folders):
            raise ValueError(f'classes={names}: they are names for the folders {folders}, in their order')

    def _of_split(self, n: int, index: int) -> Sequence[int]:
        if self.split == 'all':
            return range(n)
        train, val = holdout(n, self.seed, index)
        return train if self.split == 'train' else val

    def _find(self, data_root: str | Path, domains: str | Sequence[str] | None) -> list[str]:
        there = self.existing_domains(data_root)
        domains = [domains] if isinstance(domains, str) else list(there if domains is None else domains)
        name = type(self).__name__
        missing = [domain for domain in domains if domain not in there]
        if missing or not domains:
            raise FileNotFoundError(
                f'data_root={str(data_root)!r} lacks {", ".join(missing) or "every domain"}; of the domains '
                f'of {name} ({", ".join(self.DOMAINS)}) it has {", ".join(there) or "none"}. For the configs '
                f'of LFI set LFI_DATA_ROOT to the folder that holds {name}'
            )
        return domains

    def extra_repr(self) -> list[str]:
        """Lines of the data set's description."""
        return [*super().extra_repr(), f'Domains: \t{", ".join(self.domains)}', f'Split: \t{self.split}']


@DATASETS.register_module()
class PACS(DomainFolders):
    """PACS (Li et al., ICCV 2017): seven classes in four styles; arguments as `DomainFolders`."""

    METAINFO = dict(classes=('dog', 'elephant', 'giraffe', 'guitar', 'horse', 'house', 'person'))
    DOMAINS = ('art_painting', 'cartoon', 'photo', 'sketch')


@DATASETS.register_module()
class VLCS(DomainFolders):
    """VLCS (Fang et al., ICCV 2013): five classes from four collections; arguments as `DomainFolders`."""

    METAINFO = dict(classes=('bird', 'car', 'chair', 'dog', 'person'))
    DOMAINS = ('Caltech101', 'LabelMe', 'SUN09', 'VOC2007')
