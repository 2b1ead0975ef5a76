"""What data preprocessors do to a batch, and hooks that look into it. It knows no student."""
