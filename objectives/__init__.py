"""What is compared: one file for each pretraining objective, all reading alike."""
