"""Many runs: comparisons, lessons, and the jobs that execute them."""
