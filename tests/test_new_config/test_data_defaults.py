"""Settings of a training, and defaults by the data."""

import pytest
from lfi.errors import UsageError
from lfi.new_config import Settings
from lfi.new_config.settings import default_batch_size, default_epochs, default_input_size


@pytest.mark.parametrize('name', ['epochs', 'batch_size', 'input_size', 'labels_per_class'])
def test_numbers_must_be_positive(name):
    option = f'--{name.replace("_", "-")}'
    with pytest.raises(UsageError, match=f'{option} 0 must be at least 1'):
        Settings(**{name: 0})


def test_there_may_be_no_workers():
    assert Settings(workers=0).workers == 0
    with pytest.raises(UsageError, match='--workers -1 must be at least 0'):
        Settings(workers=-1)


def test_more_images_take_fewer_epochs_and_larger_steps():
    counts = (100, 10_000, 100_000, 1_000_000)
    assert [default_epochs(count) for count in counts] == [100, 100, 50, 30]
    assert [default_batch_size(count) for count in counts] == [16, 128, 128, 128]


@pytest.mark.parametrize(
    ('size', 'side'), [((640, 480), 224), ((128, 96), 96), ((64, 64), 64), ((20, 9), 64)]
)
def test_a_classifier_trains_at_the_size_of_its_images(size, side):
    assert default_input_size(size) == side
