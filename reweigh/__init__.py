"""The command line: data in, a look at what is there, and how good the answers are."""
