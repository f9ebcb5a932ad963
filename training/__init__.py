"""What every run does alike: optimizer, budget, checkpoints, logging, configuration."""
