"""What survives a crash: a workspace's files, read and written."""
