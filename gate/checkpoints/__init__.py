"""Of a row of pretraining checkpoints, the earliest that transfers as well as any of it."""
