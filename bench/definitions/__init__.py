"""Definitions of the networks apart from convkit's own: by which `bench verify_models` judges.

Each is written from its paper or from what defines it elsewhere (torchvision, Keras applications),
without a look at convkit/models.
"""
