"""The commands that judge: one module each, from a file or a run folder to a run folder."""
