"""Table and figure of studies that differ in the number of labels."""

from __future__ import annotations

from pathlib import Path

from .presets import FEW_LABELS, LABELS_PER_CLASS
from .published import FOLDER, PAGE, put_figure, put_section, read_published
from .runs import metric_name
from .side_by_side import side_by_side_table


def publish_label_counts(study: str, root: Path) -> None:
    """Write table and figure of the study's group, if two or more of its studies are published.

    Args:
        study: name of the study; nothing is written for studies with all labels or none.
        root: root of the repository. The section of its page and the figure have the name of the group.
    """
    if study not in FEW_LABELS:
        return
    group = study.rpartition('-')[0]
    presets = {labels: (f'{group}-{labels}', FEW_LABELS[f'{group}-{labels}']) for labels in LABELS_PER_CLASS}
    published = {labels: read_published(preset, name, root)[0] for labels, (name, preset) in presets.items()}
    counts = {labels: list(cells.values()) for labels, cells in published.items() if cells}
    if len(counts) < 2:
        return
    _, preset = next(iter(presets.values()))
    seeds = ', '.join(
        str(seed) for seed in sorted({cell.seed for cells in counts.values() for cell in cells})
    )
    metric, arms = metric_name(preset.metrics[0]), [arm.name for arm in preset.arms]
    from .label_counts_figure import draw_label_counts

    put_figure(draw_label_counts(arms, counts, metric), root / FOLDER / f'{group}.png')
    about = (
        f'{metric} on the test images, seeds {seeds}; mean ± standard deviation. '
        'Schedules are a little shorter with more labels: an epoch passes once over the images without one.'
    )
    picture = f'![{metric} of each arm by labels a class]({FOLDER.name}/{group}.png)'
    columns = {f'{labels} labels a class': cells for labels, cells in counts.items()}
    table = side_by_side_table(arms, columns)
    put_section(root / PAGE, group, f'{picture}\n\n{about}\n\n{table}')
