"""What a test leaves behind does not meet the next one."""

import os

import pytest


@pytest.mark.parametrize('time', ['first', 'second'])
def test_variables_end_with_their_test(time):
    assert 'LFI_LEFT_BEHIND' not in os.environ
    assert os.environ['PATH'] != 'changed'
    os.environ['LFI_LEFT_BEHIND'] = time
    os.environ['PATH'] = 'changed'
