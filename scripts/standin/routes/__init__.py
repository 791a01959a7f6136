"""What the stand-in answers, one module per service."""
