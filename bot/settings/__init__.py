"""What the bot is set to do: the YAML file and the environment → one frozen model, or every mistake with its line."""
