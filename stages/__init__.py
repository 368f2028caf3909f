"""The verbs: each module is one stage, a program of its own, `python -m stages.<name> <plan file>`."""
