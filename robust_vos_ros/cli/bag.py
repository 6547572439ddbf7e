"""`robust-vos bag`: what is done with bags, with or without a ROS installation."""

from __future__ import annotations

import typer

from robust_vos_ros.cli.base import app

bag_app = typer.Typer(no_args_is_help=True, help='Bags: label, export, inspect and replay.')
app.add_typer(bag_app, name='bag')
