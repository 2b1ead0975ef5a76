"""The studies behind the published numbers: they import `lfi`, and are in no wheel.

- `commands/`: those of `python -m research`.
- `studies/`: arms, presets and tables of trainings that are compared.
- `human_study/`: the page on which people compare maps, and what their answers say.
- `shapes_teacher.py`: the training of the built-in teacher.
- `published/`: numbers and figures of all studies.
"""
