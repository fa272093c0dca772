"""Training: procedural data, objectives, loops and measurements."""
