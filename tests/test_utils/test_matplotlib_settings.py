"""What a `matplotlibrc` in the working directory may change: nothing."""

import io
import subprocess
import sys

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from lfi.pseudo_labels.drawing import draw_labels
from lfi.utils.matplotlib_settings import default_style, save_figure
from lfi.visualization import draw_teachers

from research.studies import Cell, Run, Study
from research.studies.convergence_figure import draw_convergence
from research.studies.html_page import html_page
from research.studies.label_counts_figure import draw_label_counts
from research.studies.published import put_figure
from research.studies.run_report import draw_report
from research.studies.study_figure import draw_study

IMAGE = np.zeros((8, 8, 3), np.uint8)
RUN = Run('arm', (1.0, 2.0), 10.0, {})
FIGURES = {
    'convergence': lambda: draw_convergence([RUN], [RUN]),
    'label counts': lambda: draw_label_counts(['arm'], {1: [Cell(0, RUN, 2.0, 'cpu')]}, 'top-1'),
    'labels': lambda: draw_labels([IMAGE], [dict(file='a.jpg', objects=[], presence=[(0, 0.5)])], ['cat']),
    'report': lambda: draw_report([RUN], [], 0),
    'study': lambda: draw_study(Study({'arm': [Cell(0, RUN, 2.0, 'cpu')]}, 'arm')),
    'teachers': lambda: draw_teachers([(IMAGE, IMAGE[..., 0] > 0, 'cat', {'clip': torch.eye(4)})]),
}
HOSTILE = {
    'axes.grid': True,
    'font.size': 30,
    'lines.linewidth': 9,
    'savefig.bbox': 'tight',
    'savefig.facecolor': 'red',
    'text.usetex': True,
}
# `lfi`, and a tool by itself, from where matplotlib is first imported.
TOOL = """
from argparse import Namespace
from lfi.cli.running import run_tool

def main(args):
    import matplotlib, os
    print(matplotlib.rcParams['text.usetex'], os.getcwd())

run_tool(main, Namespace())
"""
DOCTOR = """
import sys
from lfi.cli import doctor
from argparse import Namespace
doctor.SECTIONS = {}
doctor_arguments = Namespace(config=None, online=False)
try:
    doctor.run(doctor_arguments)
except SystemExit:
    import matplotlib, os
    print(matplotlib.rcParams['text.usetex'], os.getcwd())
"""


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


def saved(figure):
    picture = io.BytesIO()
    save_figure(figure, picture, format='png', dpi=50)
    return picture.getvalue()


@pytest.mark.parametrize('draw', FIGURES.values(), ids=FIGURES)
def test_figures_have_the_defaults(draw):
    expected = saved(draw())
    with matplotlib.rc_context(HOSTILE):
        assert saved(draw()) == expected
        assert matplotlib.rcParams['text.usetex'] is True


def test_what_is_written_has_the_defaults(tmp_path):
    figure = FIGURES['convergence']()
    put_figure(figure, tmp_path / 'a.png')
    page = html_page('Page', [figure])
    with matplotlib.rc_context(HOSTILE):
        put_figure(figure, tmp_path / 'b.png')
        assert html_page('Page', [figure]) == page
    assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'b.png').read_bytes()


def test_a_planted_link_leads_to_no_file_of_others(tmp_path):
    (tmp_path / 'mine').write_text('mine')
    (tmp_path / 'a.png').symlink_to(tmp_path / 'mine')
    save_figure(FIGURES['convergence'](), tmp_path / 'a.png')
    assert (tmp_path / 'mine').read_text() == 'mine' and (tmp_path / 'a.png').is_file()


def test_figures_are_drawn_within_figures():
    with default_style(), default_style():
        assert matplotlib.rcParams['text.usetex'] is False


@pytest.mark.parametrize(
    ('script', 'content'),
    [(TOOL, b'text.usetex: True\n'), (DOCTOR, b'text.usetex: True\n'), (DOCTOR, b'\xff\xfe')],
    ids=['tool', 'doctor', 'bad bytes'],
)
def test_a_command_reads_no_matplotlibrc_of_its_folder(tool_env, tmp_path, script, content):
    (tmp_path / 'matplotlibrc').write_bytes(content)
    command = [sys.executable, '-c', script]
    process = subprocess.run(command, cwd=tmp_path, env=tool_env, capture_output=True, text=True)
    assert process.stdout.endswith(f'False {tmp_path}\n'), process.stderr
    assert 'matplotlibrc' not in process.stderr
