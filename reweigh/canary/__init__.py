"""`reweigh canary`: an event of its own every few seconds, timed until it is in an answer."""
