"""The HTTP edge: recommendations and profiles from counts and the weights in force, configuration, ingest."""
