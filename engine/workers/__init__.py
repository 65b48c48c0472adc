"""Starting and watching worker processes."""
