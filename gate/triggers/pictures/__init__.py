"""Pictures that come with gate, for overlay triggers; `pipelines/overlays/draw.py` drew them."""
