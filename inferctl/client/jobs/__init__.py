"""What is asked for now and fetched later: what a client says of jobs, and what it is told."""
