"""The manifests (docs/deployment.md), and what renders them."""
