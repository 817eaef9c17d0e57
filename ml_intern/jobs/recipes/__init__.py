"""Single-file recipes; each runs alone: ``python pretrain.py config.json``."""
