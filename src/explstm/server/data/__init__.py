"""Files, columns and samples that clients send or choose, read within bounds."""
