"""Label prior that a classifier absorbed: its estimate, and how far it is from uniform."""
