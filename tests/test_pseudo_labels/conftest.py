"""Pictures of Shapes as files, and who says what is on them."""

import pytest
import torch
from lfi.apis import ConceptAnswers
from picture_files import write_shapes


@pytest.fixture
def photos(tmp_path):
    """A folder with six PNG files of Shapes in two folders, and one file that is no image."""
    folder = tmp_path / 'photos'
    write_shapes('val', [folder / ('in a folder' if i % 2 else '.') / f'photo {i}.png' for i in range(6)])
    (folder / 'broken.jpg').write_bytes(b'no image')
    return folder


@pytest.fixture
def make_answers():
    """Seeded answers about T=3 concepts on a 4 x 5 grid, any field replaced by hand."""

    def make(seed=0, concepts=3, **fields):
        generator = torch.Generator().manual_seed(seed)
        answers = dict(
            presence=torch.rand(concepts, generator=generator),
            maps=torch.randn(concepts, 4, 5, generator=generator),
            view=torch.eye(2, 3),
            comparable=True,
        )
        return ConceptAnswers(**{**answers, **fields})

    return make
