"""What all tests share."""

import os

# Figures are drawn to memory, and no test may reach for a model hub.
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"
