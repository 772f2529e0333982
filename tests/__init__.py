"""Tests, by what they need: from no server (`unit/`) to a container engine (`containers/`)."""
