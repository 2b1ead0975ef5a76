"""A training step keeps to its device: no tensor of the CPU in it, and no wait of the host."""

import json
from pathlib import Path

import pytest
from device_step import CONTROLS
from small_students import PARTS, TERMS
from torch.utils import backend_registration

SCRIPT = Path(__file__).with_name('device_step.py')
INTERACTIONS = ['loss_cls', 'loss_presence', 'loss_prior', 'loss_semantic', 'loss_spatial']

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, '_setup_privateuseone_for_python_backend'),
    reason='this torch cannot register a device in Python (2.10 can)',
)


@pytest.fixture(scope='module')
def found(warm_python):
    """What came of each step: its losses, or what was found."""
    process = warm_python.run([SCRIPT], SCRIPT.parent)
    assert process.returncode == 0, process.stdout
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    'name',
    [
        *('classifier', 'few_concepts', 'cached', 'detector', 'padded_detector', 'cached_detector'),
        *('mean_target', 'mixed', 'resized'),
    ],
)
def test_learning_from_interactions_keeps_to_the_device(found, name):
    assert found[name] == INTERACTIONS


@pytest.mark.parametrize('name', PARTS)
def test_every_part_keeps_to_the_device(found, name):
    assert found[name] == sorted({'loss_prior', 'loss_cls'} | TERMS[name])


@pytest.mark.parametrize('name', CONTROLS)
def test_every_control_of_all_parts_that_it_changes_keeps_to_the_device(found, name):
    terms = set().union(*(TERMS[part] for part in CONTROLS[name]))
    assert found[name] == sorted({'loss_prior', 'loss_cls'} | terms)


def test_cached_features_keep_to_the_device(found):
    terms = TERMS['affinity'] | TERMS['dense_features']
    assert found['cached_features'] == sorted({'loss_prior', 'loss_cls'} | terms)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('waits_for_a_value', 'DataDependentOutput.*_local_scalar_dense'),
        ('indexes_by_a_mask', 'DynamicOutputShape.*nonzero'),
        ('adds_a_tensor_of_the_cpu', 'same device, but found .* cpu'),
        ('copies_to_the_host', 'a copy of .* from the device to the host'),
    ],
)
def test_what_does_not_keep_to_it_is_found(found, name, message):
    with pytest.raises(RuntimeError, match=message):
        raise RuntimeError(found[name])
