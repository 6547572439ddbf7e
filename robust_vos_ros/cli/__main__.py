"""`python -m robust_vos_ros.cli`, which torchrun starts."""

from robust_vos_ros.cli import app

app()
