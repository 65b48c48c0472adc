"""Starting and watching worker processes, here, in Slurm and over ssh."""
