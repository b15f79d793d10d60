"""`reweigh train`: models from what everybody did, measured on what was held out, and published to Redis."""
