"""The request log as others see it: what a line says, and how people read it."""
