"""Jobs in Redis, for services on many machines; needs redis-py, of the extra `jobs`."""
