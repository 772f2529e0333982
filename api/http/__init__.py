"""HTTP mechanics: bodies, headers, cursors, validation, problems and error handlers."""
