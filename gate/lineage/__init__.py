"""Whether one network's weights come from another's: on arrays, whatever file they were read of."""
