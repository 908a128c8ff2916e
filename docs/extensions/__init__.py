"""What this site needs of Sphinx beside what others have written."""
