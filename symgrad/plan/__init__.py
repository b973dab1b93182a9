"""Products of many arrays in normal form, and the order in which they are multiplied."""
