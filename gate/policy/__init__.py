"""What is wanted, and what follows from it: rules, waivers, the verdict."""
