"""What runs are measured by: one file an evaluation, whose settings are the arguments of the class of its name."""
