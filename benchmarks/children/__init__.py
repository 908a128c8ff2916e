"""Scripts that a benchmark starts as processes of their own, and what it imports into a kernel."""
