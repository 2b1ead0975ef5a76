import torch
from lfi.studies.grid import read_config
from lfi.studies.run_report import load_student
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, init_default_scope


def test_the_student_in_the_report_sees_its_images_as_in_training(tmp_path):
    cfg = read_config('configs/classification/lfi_vit-tiny_shapes.py')
    cfg.dump(tmp_path / 'config.py')
    init_default_scope('mmpretrain')
    # As the Runner builds it.
    trained = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor}).eval()
    torch.save({'state_dict': trained.state_dict()}, tmp_path / 'epoch_1.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))

    shown, dataset = load_student(tmp_path)

    data = pseudo_collate([dataset[i] for i in range(4)])
    with torch.no_grad():
        scores = [m(**m.data_preprocessor(data), mode='tensor') for m in (shown, trained)]
    torch.testing.assert_close(scores[0], scores[1])
