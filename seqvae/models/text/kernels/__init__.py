"""Fast versions of a text model's inner loops, each with the same result as the plain one."""
