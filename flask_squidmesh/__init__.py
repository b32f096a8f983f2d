"""Durable business workflows inside a Flask app, with a dashboard for the people who operate them."""
