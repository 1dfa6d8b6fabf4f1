"""The dashboard, as code and as what Grafana reads."""
