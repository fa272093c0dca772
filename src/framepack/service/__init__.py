"""Jobs and HTTP: the engine as a service. Nothing here but the worker reaches torch."""
