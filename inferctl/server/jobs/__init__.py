"""The server's side of jobs: the routes that take them in and tell of them, and what does them."""
