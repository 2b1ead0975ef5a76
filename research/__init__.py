"""Studies behind the published numbers. They import `lfi` and are not part of the wheel.

- `commands/`: commands of `python -m research`.
- `studies/`: arms, presets and tables of the compared trainings.
- `human_study/`: the page on which people compare maps, and the analysis of their answers.
- `shapes_teacher.py`: training of the built-in teacher.
- `published/`: numbers and figures of all studies.
"""
