import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from research.studies import Run
from research.studies.curves_figure import draw_curves


def test_curves_show_each_run_and_the_baselines_best():
    _, axes = plt.subplots()
    draw_curves(axes, [Run('base', (1.0, 3.0, 2.0), 1.0, {}), Run('ours', (2.0, 4.0), 1.0, {})])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ['base', 'ours']
    assert [line.get_ydata()[0] for line in axes.lines] == [1.0, 2.0, 3.0]
    assert list(axes.lines[0].get_xdata()) == [1, 2, 3]
