"""How the budgets of params.yaml were chosen: lines of settings, judged on validation subjects."""
