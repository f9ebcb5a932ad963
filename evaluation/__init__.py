"""How runs are compared: studies, yardsticks, statistics, reports."""
