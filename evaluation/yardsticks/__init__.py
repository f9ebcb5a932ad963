"""What runs are measured by: one file a yardstick, whose settings are the arguments of the class of its name."""
