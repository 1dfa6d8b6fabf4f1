"""What a GPU gives, and how much of it a service passes on: `python -m benchmarks.gpu`."""
