"""The images of job and service (docs/deployment.md)."""
