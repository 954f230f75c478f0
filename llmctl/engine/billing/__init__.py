"""What requests cost, and caps that hold."""
