"""Tables of images and texts, and checks on them."""
