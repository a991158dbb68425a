"""What every command of `training` shares: how it is run, and how its YAML file is read."""
