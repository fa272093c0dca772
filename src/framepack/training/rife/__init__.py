"""Training of the small IFNet that ships in the package: clips, recipe, measurement."""
