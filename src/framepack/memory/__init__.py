"""Where weights lie while a model runs: planned without torch, then streamed block by block."""
