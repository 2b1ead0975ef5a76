"""`lfi.train` on objects and on masks, and all that its model does."""

from pathlib import Path

import lfi
import numpy as np
import pytest
import torch
from lfi.engine.config_loading import load_config
from small_data_sets import write_masks, write_yolo

SMALL = dict(teacher='shapes-tiny', epochs=1, batch_size=2, input_size=64, weights='none', workers=0)


@pytest.mark.parametrize(
    ('package', 'write', 'classes'),
    [('supervision', write_yolo, ('cat', 'dog')), ('mmseg', write_masks, ('dark', 'bright'))],
)
def test_a_model_is_trained_asked_exported_and_saved(package, write, classes, tmp_path):
    pytest.importorskip(package)
    data = write(tmp_path / 'data')
    model = lfi.train(data, out=tmp_path / 'run', **SMALL)
    assert model.classes == classes
    folder = load_config(str(next((tmp_path / 'run/config').glob('*.py')))).data_root
    photo = next(Path(folder).rglob('*.jpg'))
    answer = model.ask(photo, ['cat', 'a red car'])
    assert answer.maps.shape[0] == answer.presence.shape[0] == 2
    assert np.isfinite(answer.maps).all()
    predicted = lfi.load(tmp_path / 'run').predict(photo)
    if package == 'mmseg':
        assert predicted.labels.shape == answer.image.shape[:2]
        assert set(np.unique(predicted.labels)) <= {0, 1}
    else:
        assert predicted.boxes.shape == (len(predicted.labels), 4)
        assert predicted.scores == pytest.approx(answer.scores, rel=1e-4)
    exported = torch.load(model.export(tmp_path / 'student.pth'))
    assert not any(name.startswith('readout') for name in exported['state_dict'])
    again = lfi.load(model.save(tmp_path / 'saved'), device='cpu')
    assert again.ask(photo, ['cat', 'a red car']).presence == pytest.approx(answer.presence, rel=1e-4)
