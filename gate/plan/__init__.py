"""What is measured, on which data: descriptions alone."""
