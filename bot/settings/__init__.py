"""What the bot is set to do: a YAML file and the environment → one frozen model, or every mistake."""
