"""HTTP mechanics: bodies, headers, cursors, problems and their handlers."""
