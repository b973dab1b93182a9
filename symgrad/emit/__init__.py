"""From graphs to what people read."""
