import sys

import pytest
from lfi.errors import UsageError

from research.studies.tool_output import follow_training, tool_output


def test_lines_of_both_streams():
    code = 'import sys; print("out", flush=True); print("err", file=sys.stderr)'
    assert list(tool_output([sys.executable, '-c', code], 'a tool')) == ['out\n', 'err\n']


def test_a_failure_is_named_with_its_last_lines():
    code = '[print(i) for i in range(99)]; raise SystemExit(3)'
    with pytest.raises(UsageError, match='(?s)^69\n.*\na tool failed with exit code 3: ') as error:
        list(tool_output([sys.executable, '-c', code], 'a tool'))
    assert '\n68\n' not in str(error.value)


def test_what_a_training_says():
    lines = [
        '11/25 15:45:01 - mmengine - INFO - Machine: A CPU, 1 of 2 threads\n',
        '11/25 15:46:30 - mmengine - INFO - Epoch(train) [12][50/50]  loss: 1.0\n',
        '11/25 15:46:40 - mmengine - INFO - Epoch(val) [12][5/5]    accuracy/top1: 12.0\n',
    ]
    epochs = []
    assert follow_training(lines, epochs.append) == 'A CPU, 1 of 2 threads'
    assert epochs == [12]
    assert follow_training([], epochs.append) is None
