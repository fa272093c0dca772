"""The studio: the page where people make videos. A client of the HTTP API, and nothing else."""
