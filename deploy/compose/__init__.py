"""What docker-compose.yml mounts (docs/deployment.md)."""
