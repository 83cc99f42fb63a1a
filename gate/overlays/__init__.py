"""Pictures that come with gate, for overlay triggers; ``python -m gate.overlays`` drew them."""
