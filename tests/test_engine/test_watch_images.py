import pytest
from lfi.engine.watch_images import max_unreadable
from lfi.errors import UsageError
from mmengine.config import Config


@pytest.mark.parametrize('share', [0, 0.25, 1])
def test_the_share_of_unreadable_images_is_a_setting(share):
    assert max_unreadable(Config(dict(max_unreadable=share))) == share
    assert max_unreadable(Config(dict())) == 0.1


@pytest.mark.parametrize('share', [-0.1, 1.5, '0.1', True, None, float('nan')])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(UsageError, match=r'max_unreadable=.* must lie in \[0, 1\]'):
        max_unreadable(Config(dict(max_unreadable=share)))
