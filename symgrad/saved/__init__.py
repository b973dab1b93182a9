"""Graphs as files: data in JSON and arrays beside it, never code."""
