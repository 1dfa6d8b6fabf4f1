"""inferctl: from a PyTorch checkpoint to a measured production service."""

import os

__version__ = "0.1.0"

# onnxruntime tells Microsoft what it is used for, and keeps a database in the home folder for that,
# unless it finds this when it is imported.
os.putenv("ORT_DISABLE_TELEMETRY", "1")
