"""Trained models: what they hold, how they are stored in Redis, and how products are ranked by them.

Only numpy is needed here; training is in ``reweigh/train``.
"""
