"""What reading replies shares between wire formats."""
