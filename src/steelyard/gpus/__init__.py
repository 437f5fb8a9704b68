"""What is known of NVIDIA GPUs beforehand, and what their answers mean. No host is asked from here."""
