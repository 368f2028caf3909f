"""Results to tables, figures and a page: reads what runs left, knows no model and no MLflow."""
