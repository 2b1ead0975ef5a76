from pathlib import Path

import torch
from lfi.evaluation.teachers.measuring import PeakMemory


def test_where_proc_cannot_be_written_memory_is_not_counted(monkeypatch):
    written = Path.write_text

    def write(path, text, *args, **kwargs):
        if path.parts[1] == 'proc':
            raise PermissionError(f'Permission denied: {path}')
        return written(path, text, *args, **kwargs)

    monkeypatch.setattr(Path, 'write_text', write)
    memory = PeakMemory(torch.device('cpu'))
    assert memory.peak() is None
