"""What reconstructors share."""
