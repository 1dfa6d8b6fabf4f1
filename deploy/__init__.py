"""What is needed to run inferctl on machines of others: docs/deploy.md."""
