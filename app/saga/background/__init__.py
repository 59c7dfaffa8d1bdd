"""What works in the background: started and stopped in one way, in loops that outlive errors and report outages."""
