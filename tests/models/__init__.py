"""Trained models: applying, storing, training."""
