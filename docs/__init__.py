"""What is written by hand, and what is generated from the code."""
