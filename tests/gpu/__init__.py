"""What is measured on a GPU (`make gpu`), and what a compiler for one tells without one (`make gpu-compile`)."""
