"""`GET /ops`: one page that shows how the whole system does, for those without Grafana."""
