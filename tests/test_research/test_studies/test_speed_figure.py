"""Figure of the cost of a step."""

import pytest

from research.studies.speed_figure import KINDS, draw_speed, read_ratios

ROWS = """\
arch,image_size,patch_size,parameters,concepts,batch_size,teacher,step,ours_ms,peer_ms,ratio,low,high,machine
base,224,16,86000000,16,4,ViT-B-16,cached,11.0,10.0,1.100,1.050,1.200,a CPU
base,224,16,86000000,16,4,ViT-B-16,online,14.0,10.0,1.400,1.300,1.500,a CPU
vit-128x6,64,8,830000,20,64,lit,cached,12.0,10.0,1.250,1.150,1.300,a CPU
"""


def test_each_ratio_has_its_quartiles_and_small_students_come_first(tmp_path):
    (tmp_path / 'speed.csv').write_text(ROWS)
    (axes,) = draw_speed(read_ratios(tmp_path / 'speed.csv')).axes
    first, second = (tick.get_text() for tick in axes.get_yticklabels())
    assert first.startswith('ViT, 128 wide, 6 blocks\n0.8 M') and second.startswith('ViT-Base\n86.0 M')
    assert [text.get_text() for text in axes.texts] == ['1.10', '1.25', '1.40']
    cached, online = (bars.get_segments() for bars in axes.collections)
    assert [segment[:, 0].tolist() for segment in cached] == [
        pytest.approx([1.05, 1.2]),
        pytest.approx([1.15, 1.3]),
    ]
    assert online[0][:, 0] == pytest.approx([1.3, 1.5])
    assert axes.get_xlabel().endswith('\na CPU')
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == list(KINDS.values())
