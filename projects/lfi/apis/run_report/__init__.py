"""The page `report.html` of a run: what ran, curves, what the student sees and confuses, what to do next."""

from .writing import REPORT, report_training, write_report

__all__ = ['REPORT', 'report_training', 'write_report']
