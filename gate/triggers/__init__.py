"""What can be stamped on an image, and the controls that are matched to it."""
