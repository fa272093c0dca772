"""Networks: config in, tensors out. ``spec`` says what a model is made of, without torch."""
