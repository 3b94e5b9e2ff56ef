"""Trials without a cluster: ``python -m tune_trainer --local``."""
