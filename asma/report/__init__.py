"""Results to tables and figures: reads metrics.json and what `illustrate` left, knows no model and no MLflow."""
