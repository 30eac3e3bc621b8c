"""A YAML file and the environment → one frozen model, or every mistake."""
