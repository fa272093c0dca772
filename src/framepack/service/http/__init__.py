"""HTTP: the native API, the face for SD.Next's clients, and what guards both."""
