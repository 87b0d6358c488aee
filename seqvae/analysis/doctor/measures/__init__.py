"""What the doctor measures on a run, one module per question."""
