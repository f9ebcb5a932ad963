"""What a checkpoint is worth: tasks as data, one module a head, and the metrics that tell."""
