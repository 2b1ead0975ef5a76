"""What a batch of an OpenMMLab data loader says of its images, and the teacher's maps in its views.

It imports `structures`, backbones and teachers, and knows no student.
"""
