"""What writing requests shares between wire formats."""
