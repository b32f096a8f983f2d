"""Drawing: pictures of a run, as boxes, lines and places for the templates."""
