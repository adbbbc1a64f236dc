"""What runs inside the processes that are measured, ours and the peers', in either environment."""
