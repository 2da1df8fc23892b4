"""What the domain needs from the world. Adapters give it; `targets.py` joins the two."""
