"""The background process of a workspace: its socket, its clients' commands, and its workers."""
