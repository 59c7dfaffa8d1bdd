"""What a process does itself, whatever it serves."""
