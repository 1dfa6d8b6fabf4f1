"""The parent: sockets, shared memory, processes, restarts, drain. It serves nothing itself."""
