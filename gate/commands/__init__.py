"""The commands, one file a group: each parses, makes one call, and says what came of it."""
