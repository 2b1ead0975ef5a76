"""A training does not resume from files that lack its state."""

from types import SimpleNamespace

import pytest
from lfi.errors import UsageError
from lfi.registry import HOOKS

COMPLETE = dict(state_dict={}, meta={}, message_hub={}, optimizer={})


@pytest.mark.parametrize(
    ('missing', 'said'),
    [
        (['optimizer'], 'no optimizer'),
        (['message_hub', 'optimizer'], 'no message_hub and no optimizer'),
        (['meta', 'message_hub', 'optimizer'], 'no meta and no message_hub and no optimizer'),
    ],
)
def test_best_exported_and_published_files_are_refused(missing, said):
    hook = HOOKS.build(dict(type='lfi.CompleteCheckpointHook'))
    runner = SimpleNamespace(_load_from='work/best.pth')
    found = {key: value for key, value in COMPLETE.items() if key not in missing}
    with pytest.raises(UsageError, match=rf'cannot resume from work/best\.pth: it has {said}, as best_'):
        hook.after_load_checkpoint(runner, found)
    hook.after_load_checkpoint(runner, COMPLETE)
