"""The export folder: code, verified files, answers and the report."""
