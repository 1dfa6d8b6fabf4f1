"""Two small trained models, the code that trained them, and the tour that shows every verb."""
