"""Results to tables and figures: reads runs/**/metrics.json, knows no model and no MLflow."""
